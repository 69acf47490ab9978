"""Turns on a card that cannot hold trainer and evaluator together: `evaluation.turns`.

An evaluator that has something to draw asks for the card (`.claims/card.json`). The trainer finishes its step, moves
its model to the host's memory, says so (`.claims/card-left.json`), and waits until the request is gone. Each file has
one writer: evaluators ask one after another. A request counts only while its evaluator lives on this machine.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager

import psutil
from filelock import FileLock, Timeout
from pydantic import Field

from shared.errors import RunFolderError
from shared.run_folder.heartbeat import is_alive, process_alive, read_status
from shared.run_folder.records.record import Record
from shared.run_folder.run_dir import RunDir

POLL_SECONDS = 0.1
ASKED, LEFT = "card.json", "card-left.json"


class Turn(Record):
    """`.claims/card.json`: an evaluator asks for the card, or has it."""

    id: str
    host: str
    pid: int
    process_started: float
    what: str = Field(description="What it draws, for people.")


class Left(Record):
    """`.claims/card-left.json`: the trainer has left the card for this turn."""

    turn: str


@contextmanager
def held(run: RunDir, what: str, may_wait: Callable[[], bool]) -> Generator[bool]:
    """Have the card to oneself while the block runs, at once if no trainer lives. Yields False if it may not wait any
    longer.
    """
    run.claims.mkdir(exist_ok=True)
    lock, path = FileLock(run.claims / ".card.lock"), run.claims / ASKED
    if not _until(lambda: _acquired(lock), may_wait):
        yield False
        return
    turn = Turn(
        id=uuid.uuid4().hex,
        host=socket.gethostname(),
        pid=os.getpid(),
        process_started=psutil.Process().create_time(),
        what=what,
    )
    turn.write(path)
    try:
        yield _until(lambda: _is_left(run, turn), may_wait)
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def wanted(run: RunDir) -> Turn | None:
    """The request of a living evaluator of this machine."""
    try:
        turn = Turn.read(run.claims / ASKED)
    except (FileNotFoundError, RunFolderError):
        return None
    here = turn.host == socket.gethostname() and process_alive(turn.pid, turn.process_started)
    return turn if here else None


def leave(run: RunDir, turn: Turn) -> None:
    """Say that the trainer has left the card."""
    Left(turn=turn.id).write(run.claims / LEFT)


def come_back(run: RunDir) -> None:
    """Say that the trainer is on the card, or comes back to it."""
    (run.claims / LEFT).unlink(missing_ok=True)


def _is_left(run: RunDir, turn: Turn) -> bool:
    if not is_alive(read_status(run, "trainer")):
        return True
    try:
        return Left.read(run.claims / LEFT).turn == turn.id
    except (FileNotFoundError, RunFolderError):
        return False


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def _until(happened: Callable[[], bool], may_wait: Callable[[], bool]) -> bool:
    while not happened():
        if not may_wait():
            return False
        time.sleep(POLL_SECONDS)
    return True
