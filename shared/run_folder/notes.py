"""Reads `notes.json`: what people say about a run. The dashboard writes it (`dashboard/data/notes.py`)."""

from __future__ import annotations

from filelock import FileLock
from pydantic import ConfigDict, Field

from shared.errors import RunFolderError
from shared.files.regular import leads_out
from shared.run_folder.records.record import Record
from shared.run_folder.run_dir import RunDir

LOCK_SECONDS = 5


class Notes(Record):
    """Stars and notes by step; tags and a note of the run itself."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    starred: tuple[int, ...] = ()
    texts: dict[int, str] = Field(default_factory=dict[int, str])
    tags: tuple[str, ...] = ()
    about: str = ""
    """The note of the run."""


def read_notes(run: RunDir) -> Notes:
    """What was noted; nothing while there is no file.

    Raises:
        RunFolderError: the file is damaged, written by a newer version, or leads out of the run folder.
    """
    path = run.notes
    if leads_out(path, run.path):
        raise RunFolderError(f"{path} leads out of the run folder", f"put the file itself at {path}")
    try:
        return Notes.read(path)
    except FileNotFoundError:
        return Notes()


def lock(run: RunDir) -> FileLock:
    """Guards `notes.json` while it is read and replaced, and while weights without a star are deleted."""
    return FileLock(run.path / ".notes.lock", timeout=LOCK_SECONDS)
