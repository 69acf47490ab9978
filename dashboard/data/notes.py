"""What people say about a run: stars and notes per snapshot, in its `notes.json`, which only the dashboard writes."""

from __future__ import annotations

from filelock import FileLock
from pydantic import Field

from shared.errors import RunFolderError
from shared.run_folder.records import Record
from shared.run_folder.run_dir import RunDir


class Notes(Record):
    """Stars and notes by step."""

    starred: tuple[int, ...] = ()
    texts: dict[int, str] = Field(default_factory=dict)


def read_notes(run: RunDir) -> Notes:
    """What was noted; nothing when there is no file, or a damaged one."""
    try:
        return Notes.read(run.path / "notes.json")
    except (FileNotFoundError, RunFolderError):
        return Notes()


def star(run: RunDir, step: int, starred: bool) -> None:
    """Give or take a star."""
    with _lock(run):
        notes = read_notes(run)
        steps = {*notes.starred, step} if starred else {*notes.starred} - {step}
        notes.model_copy(update={"starred": tuple(sorted(steps))}).write(run.path / "notes.json")


def note(run: RunDir, step: int, text: str) -> None:
    """Set the note of a snapshot; an empty one is removed."""
    with _lock(run):
        notes = read_notes(run)
        texts = {**notes.texts, step: text.strip()}
        notes.model_copy(update={"texts": {k: v for k, v in texts.items() if v}}).write(run.path / "notes.json")


def _lock(run: RunDir) -> FileLock:
    return FileLock(run.path / ".notes.lock", timeout=5)
