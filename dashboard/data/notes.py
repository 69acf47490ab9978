"""What people say about a run: its tags and note, stars and notes per snapshot, in its `notes.json`, which only the
dashboard writes.

A file that cannot be read is never written over, and fields that a later version added stay in it.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.run_folder.notes import lock, read_notes
from shared.run_folder.run_dir import RunDir

MAX_CHARACTERS = 2000
"""Of a note that is written here; a longer one can only come from outside."""
MAX_TAGS, MAX_TAG_CHARACTERS = 20, 40


class NoteConflictError(Exception):
    """The note is no longer what its writer saw; nothing was written."""


def star(run: RunDir, step: int, starred: bool) -> None:
    """Give or take a star; raises as `read_notes` does."""
    with lock(run):
        notes = read_notes(run)
        steps = {*notes.starred, step} if starred else {*notes.starred} - {step}
        notes.model_copy(update={"starred": tuple(sorted(steps))}).write(run.notes)


def note(run: RunDir, step: int, text: str, seen: str) -> None:
    """Set the note of a snapshot; an empty one is removed.

    Args:
        run: the run.
        step: the snapshot.
        text: at most `MAX_CHARACTERS`.
        seen: the note that its writer saw; another tab may have changed it since.

    Raises:
        NoteConflictError: it is another one by now.
        RunFolderError: as `read_notes`.
    """
    with lock(run):
        notes, text = read_notes(run), text.strip()[:MAX_CHARACTERS]
        there = notes.texts.get(step, "")
        if there not in (seen, text):
            raise NoteConflictError
        texts = {known: words for known, words in {**notes.texts, step: text}.items() if words}
        notes.model_copy(update={"texts": texts}).write(run.notes)


def describe(run: RunDir, tags: Iterable[str], about: str, seen: tuple[tuple[str, ...], str]) -> None:
    """Set the tags and the note of the run itself.

    Args:
        run: the run.
        tags: as typed, see `tidy`.
        about: at most `MAX_CHARACTERS`.
        seen: the tags and the note that their writer saw; another tab may have changed them since.

    Raises:
        NoteConflictError: they are others by now.
        RunFolderError: as `read_notes`.
    """
    with lock(run):
        notes, wanted = read_notes(run), (tidy(tags), about.strip()[:MAX_CHARACTERS])
        if (notes.tags, notes.about) not in (seen, wanted):
            raise NoteConflictError
        notes.model_copy(update={"tags": wanted[0], "about": wanted[1]}).write(run.notes)


def tidy(tags: Iterable[str]) -> tuple[str, ...]:
    """Each once, without blanks and commas, so that a tag is one word of a filter."""
    words = ("-".join(tag.replace(",", " ").strip().lstrip("#").split())[:MAX_TAG_CHARACTERS] for tag in tags)
    return tuple(dict.fromkeys(filter(None, words)))[:MAX_TAGS]
