"""The changes of a data set's captions, in `.darkroom/captions` in its folder: made, kept, undone.

A change is written down before the captions are, and each file is replaced whole. What a person or a program has
changed meanwhile is never written over: a text that is not what the change expects is a conflict, and then nothing is
written.
"""

from __future__ import annotations

import codecs
import uuid
from collections import defaultdict
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from shared.data.editing.change import Change, Encoding, Entry, Kind
from shared.errors import DataError, RunFolderError
from shared.files.replacing import replace_file

LOCK_SECONDS = 10
WRITERS = 16
MARKS: dict[bytes, Encoding] = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class ConflictError(Exception):
    """Some of the texts are no longer what the change expects; nothing was written. `ids`: the pictures."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(", ".join(ids[:3]))
        self.ids = list(ids)


@dataclass(frozen=True)
class Known:
    """A change and whether it still holds."""

    change: Change
    undone_by: str = ""
    """The id of the change that took it back."""


class History:
    """The changes of one data set."""

    def __init__(self, folder: Path) -> None:
        """folder: of the data set, which the paths of changes are relative to."""
        self.folder = folder
        self.place = folder / ".darkroom" / "captions"

    def changes(self, limit: int | None = None) -> list[Known]:
        """The newest first, without those that are undone changes of changes; a damaged record is left out."""
        records: list[Change] = []
        for path in sorted(self.place.glob("*.json"), reverse=True)[:limit]:
            with suppress(RunFolderError, FileNotFoundError):
                records.append(Change.read(path))
        undone: dict[str, str] = {}
        for change in records:  # an undo that is itself undone counts no more
            if change.undoes and change.id not in undone:
                undone.setdefault(change.undoes, change.id)
        return [Known(change, undone.get(change.id, "")) for change in records]

    def make(
        self, kind: Kind, words: str, entries: Sequence[Entry], undoes: str = "", extends: Change | None = None
    ) -> Change:
        """Write a change down, then the texts. extends: the change that these entries join, unless it was undone.

        Raises:
            ConflictError: a text is not what the change expects.
            DataError: the folder cannot be written, or is being changed by another program.
            OSError: a text could not be written; those before it are as they were.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        change = Change(
            id=f"{stamp}-{uuid.uuid4().hex[:6]}", kind=kind, words=words, undoes=undoes, entries=tuple(entries)
        )
        with self._locked():
            texts = self._texts_after(entries)
            before = extends if extends and self._holds(extends.id) else None
            if before:
                change = before.model_copy(update={"entries": (*before.entries, *entries)})
            record = self.place / f"{change.id}.json"
            change.write(record)
            try:
                self._write(texts)
            except OSError:
                if before:
                    before.write(record)
                else:
                    record.unlink(missing_ok=True)
                raise
        return change

    def _holds(self, change_id: str) -> bool:
        return any(known.change.id == change_id and not known.undone_by for known in self.changes())

    def undo(self, change_id: str) -> Change:
        """Take a change back. Texts that are already as they were before it are left alone.

        Raises:
            DataError: there is no such change, or it was taken back already; or as `make`.
            ConflictError, OSError: as `make`.
        """
        known = next((one for one in self.changes() if one.change.id == change_id), None)
        if known is None or known.undone_by:
            raise DataError("this change is not there, or was undone already", "load the page again")
        inverse = [entry.inverse() for entry in reversed(known.change.entries)]
        left = [entry for entry in inverse if not self._is_there(entry)]
        return self.make("undo", known.change.words, left, undoes=change_id)

    def text_of(self, file: Path) -> tuple[str | None, Encoding]:
        """The text of a file, with its byte order mark; None: there is no file.

        Raises:
            DataError: it is neither UTF-8 nor UTF-16.
        """
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            return None, "utf-8"
        encoding: Encoding = MARKS.get(data[:2], "utf-8")
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            raise DataError(f"{file} is not UTF-8", "save it as UTF-8") from None

    def place_of(self, file: Path) -> str:
        """A file as entries name it."""
        return (file.relative_to(self.folder) if file.is_relative_to(self.folder) else file).as_posix()

    def _is_there(self, entry: Entry) -> bool:
        """Whether the text is already what the entry makes of it."""
        text, _ = self.text_of(self.folder / entry.file)
        if entry.is_row:
            return text is not None and _count(text, entry.before or "") == 0 and _count(text, entry.after or "") == 1
        return text == entry.after

    def _texts_after(self, entries: Sequence[Entry]) -> dict[Path, tuple[str | None, str | None, Encoding]]:
        """File → its text before and after all entries, its encoding; raises `ConflictError`."""
        by_file, conflicts = defaultdict[str, list[Entry]](list), list[str]()
        for entry in entries:
            by_file[entry.file].append(entry)
        texts: dict[Path, tuple[str | None, str | None, Encoding]] = {}
        for name, some in by_file.items():
            file = self.folder / name
            before, encoding = self.text_of(file)
            after = before
            for entry in some:
                if entry.is_row and after is not None and entry.before and _count(after, entry.before) == 1:
                    after = _replaced(after, entry.before, entry.after or "")
                elif not entry.is_row and after == entry.before:
                    after = entry.after
                    encoding = encoding if before is not None else entry.encoding
                else:
                    conflicts.append(entry.id)
            texts[file] = before, after, encoding
        if conflicts:
            raise ConflictError(conflicts)
        return texts

    def _write(self, texts: dict[Path, tuple[str | None, str | None, Encoding]]) -> None:
        """Many at once: each waits for the disk."""
        written: list[Path] = []

        def put(file: Path) -> None:
            _, after, encoding = texts[file]
            _put(file, after, encoding)
            written.append(file)

        try:
            with ThreadPoolExecutor(WRITERS) as pool:
                list(pool.map(put, texts))
        except OSError:
            for file in written:
                before, _, encoding = texts[file]
                with suppress(OSError):
                    _put(file, before, encoding)
            raise

    @contextmanager
    def _locked(self) -> Generator[None]:
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            with FileLock(self.place / ".lock", timeout=LOCK_SECONDS):
                yield
        except Timeout:
            raise DataError(
                f"another program is changing the captions of {self.folder}", "wait until it has ended"
            ) from None
        except PermissionError as error:
            raise DataError(
                f"{error.filename or self.folder} cannot be written: {error.strerror}",
                "give yourself the right to write there, or copy the data set",
            ) from None


def _put(file: Path, text: str | None, encoding: Encoding) -> None:
    if text is None:
        file.unlink(missing_ok=True)
    else:
        replace_file(file.resolve() if file.is_symlink() else file, text.encode(encoding))  # a link stays a link


def _starts(text: str, row: str) -> list[int]:
    """Where a row begins in a table: at the beginning of a line, up to the end of one."""
    found: list[int] = []
    at = text.find(row) if row else -1
    while at >= 0:
        end = at + len(row)
        if (at == 0 or text[at - 1] in "\n\r\ufeff") and (end == len(text) or text[end] in "\n\r"):
            found.append(at)
        at = text.find(row, at + 1)
    return found


def _count(text: str, row: str) -> int:
    return len(_starts(text, row))


def _replaced(text: str, row: str, new: str) -> str:
    at = _starts(text, row)[0]
    return text[:at] + new + text[at + len(row) :]
