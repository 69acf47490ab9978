"""`.darkroom/captioner.json` in the folder of a data set: how far the program is that writes captions there.

A file `captioner.stop` beside it asks the program to end after the picture at hand.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil
from filelock import FileLock, Timeout
from pydantic import Field

from shared.errors import DataError, RunFolderError
from shared.run_folder.heartbeat import process_alive
from shared.run_folder.records.record import Record


class CaptionerStatus(Record):
    """How far it is."""

    state: Literal["loading", "writing", "finished", "stopped", "failed"]
    model: str
    done: int = 0
    total: int = 0
    skipped: int = Field(default=0, description="Pictures that the model had nothing to say of, or that were changed.")
    message: str = Field(default="", description="Why it failed or stopped.")
    pid: int = Field(default_factory=os.getpid)
    host: str = Field(default_factory=socket.gethostname)
    process_started: float = Field(default_factory=lambda: psutil.Process().create_time())

    @property
    def is_at_work(self) -> bool:
        """Whether the program runs; of one on another machine it is believed."""
        if self.state not in ("loading", "writing"):
            return False
        return self.host != socket.gethostname() or process_alive(self.pid, self.process_started)


def place_of(folder: Path) -> Path:
    """The status file of a data set."""
    return folder / ".darkroom" / "captioner.json"


def read(folder: Path) -> CaptionerStatus | None:
    """None: there was no such program, or its status is damaged."""
    with suppress(FileNotFoundError, RunFolderError):
        return CaptionerStatus.read(place_of(folder))
    return None


def ask_to_stop(folder: Path) -> None:
    """Ask the program to end."""
    place_of(folder).with_suffix(".stop").touch()


def is_asked_to_stop(folder: Path) -> bool:
    """Whether somebody has."""
    return place_of(folder).with_suffix(".stop").exists()


def hold(folder: Path) -> FileLock:
    """The lock of the one program that may write captions, taken; release it.

    Raises:
        DataError: another one has it, or the folder may not be written.
    """
    try:
        place_of(folder).parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place_of(folder).with_name(".captioner.lock"), timeout=0)
        lock.acquire()
    except Timeout:
        raise DataError(f"another program is writing captions in {folder}", "wait until it has ended") from None
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written: {error.strerror}", "give yourself the right to write there"
        ) from None
    place_of(folder).with_suffix(".stop").unlink(missing_ok=True)
    return lock
