"""Copies a run folder to another place and keeps the copy up with it: to a Drive, while the run is on a local disk.

Promises: a copied folder appears whole, its manifest last, after every file was compared with its digest; a table ends
with a whole row, and is never behind the checkpoints beside it. Killed at any moment and started again, it goes on.
A copy is a run folder: copied back to an empty place, the run is resumed there. It has no `processes/` and `control/`,
which are about programs of this machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import LostFileError, RunFolderError
from shared.files import publication
from shared.files.publication import MANIFEST
from shared.files.replacing import replace_file
from shared.followers.follower import is_over
from shared.run_folder.checkpoints import DAMAGED
from shared.run_folder.run_dir import RunDir, open_run, step_name, steps_in

LEFT_OUT = ("processes", "control")
MARK = ".copy-of"
"""Holds the run's id. A folder with it and without `run.json` is a copy whose first pass did not end."""
GROWING = (".csv", ".jsonl")
BLOCK = 1 << 20
LOOK_SECONDS = 1.0
PASS_SECONDS = 30.0
QUIET_SECONDS = 5.0
"""After which it is said that the run is not at work; a notebook starts it a moment after the copy."""


@dataclass
class Pass:
    """What one pass over the run folder has copied."""

    folders: int = 0
    files: int = 0
    damaged: list[str] = field(default_factory=list[str])
    """Folders whose files are not what their manifest says: they are not copied."""


class Keeping:
    """Keeps a copy up with a run: pass after pass until the run is over."""

    def __init__(self, run: RunDir, where: str, say: Callable[[str], object]) -> None:
        """where: the place, as people read it."""
        self._run, self._where, self._say = run, where, say
        self._id, self._said = run.read_record().run_id, ""
        self._ended = threading.Event()
        self._written: dict[Path, tuple[int, int]] = {}
        """File of the run → its time and size when it was copied."""

    def once(self) -> Pass:
        """Copy what is not there yet, and what has changed.

        Raises:
            OSError: the place cannot be written.
        """
        done = Pass()
        self._prepare()
        parts = [part for part in sorted(self._run.path.iterdir()) if is_copied(part)]
        for folder in (folder for part in parts if part.is_dir() for folder in published_in(part)):
            self._folder(folder, done)
        files = [file for part in parts for file in loose_files_in(part)]
        for file in sorted(files, key=lambda file: file == self._run.record):  # without run.json it is no run yet
            done.files += self._file(file)
        self._remove_what_retention_removed()
        return done

    def _file(self, file: Path) -> bool:
        """A file that is replaced or grows; whether it was copied. The clock of the other place is not asked."""
        try:
            stat = file.stat()
            facts = (stat.st_mtime_ns, stat.st_size)
            if self._written.get(file) == facts:
                return False
            content = whole_rows(file)
        except FileNotFoundError:  # replaced or removed meanwhile
            return False
        differs = not self._holds(file, content)
        if differs:
            self._replace(file, content)
        self._written[file] = facts
        return differs

    def _prepare(self) -> None:
        """Make the place ready for a pass: it says whose copy it is."""
        raise NotImplementedError

    def _folder(self, folder: Path, done: Pass) -> None:
        """A published folder, if it is not there yet; what is damaged is named in `done`."""
        raise NotImplementedError

    def _holds(self, file: Path, content: bytes) -> bool:
        """Whether the copy of this file is this content."""
        raise NotImplementedError

    def _replace(self, file: Path, content: bytes) -> None:
        """Make this content the copy of the file."""
        raise NotImplementedError

    def _remove_what_retention_removed(self) -> None:
        """Steps that the run has no longer, though it has a later one."""
        raise NotImplementedError

    def finish(self) -> None:
        """End `follow` after one more pass; may be called from a signal handler."""
        self._ended.set()

    def follow(self, pass_seconds: float = PASS_SECONDS, look_seconds: float = LOOK_SECONDS) -> bool:
        """Copy until the run, seen at work, is over, or until `finish`. Returns whether everything was copied.

        A place that cannot be written is named once; the next pass tries again.
        """
        was_at_work, waited = False, pass_seconds
        while not self._ended.is_set():
            if waited >= pass_seconds:
                self._try()
                waited = 0.0
            over = is_over(self._run)
            if was_at_work and over:
                break
            was_at_work = was_at_work or not over
            if not was_at_work and waited >= QUIET_SECONDS:
                self._note(f"nothing is at work on {self._run.path}: it is copied further once it is")
            self._ended.wait(look_seconds)
            waited += look_seconds
        return self._try()

    def _try(self) -> bool:
        try:
            done = self.once()
        except OSError as error:
            return self._note(f"{self._where} cannot be written: {error.strerror}; it is tried again")
        if done.folders:
            self._say(f"copied {done.folders} folders to {self._where}")
        return not done.damaged or self._note(f"not copied: {'; '.join(done.damaged)}")

    def _note(self, text: str) -> bool:
        if text != self._said:
            self._said = text
            self._say(text)
        return False


class Copying(Keeping):
    """One run and the place of its copy."""

    def __init__(self, run: RunDir, target: Path, say: Callable[[str], object] = lambda text: None) -> None:
        """Look at the place; nothing is written.

        Raises:
            RunFolderError: the place is the run folder, lies in it, or holds something that is no copy of this run.
        """
        self._copy = RunDir(target.resolve())
        super().__init__(run, str(self._copy.path), say)
        if self._copy.path.is_relative_to(run.path):
            raise RunFolderError(f"{target} is the run folder or lies in it", "give a folder elsewhere")
        self._require_ours(target)

    def _prepare(self) -> None:
        if not self._copy.record.exists() and self._mark.exists() and self._mark.read_text("utf-8") != self._id:
            shutil.rmtree(self._copy.path)  # of another run, whose first pass did not end
        self._copy.path.mkdir(parents=True, exist_ok=True)
        if not self._mark.exists():
            replace_file(self._mark, self._id.encode())
        self._copy.staging.mkdir(exist_ok=True)
        publication.sweep(self._copy.staging)

    def _require_ours(self, target: Path) -> None:
        cure = "give another folder, or an empty one"
        if self._copy.record.exists():
            if (other := self._copy.read_record().run_id) != self._id:
                raise RunFolderError(f"{target} holds another run ({other})", cure)
            return
        is_ours = target.is_dir() and (self._mark.exists() or all(part.name[0] == "." for part in target.iterdir()))
        if target.exists() and not is_ours:
            raise RunFolderError(f"{target} is not empty and holds no run", cure)

    @property
    def _mark(self) -> Path:
        return self._copy.path / MARK

    def _place(self, source: Path) -> Path:
        return self._copy.path / source.relative_to(self._run.path)

    def _folder(self, folder: Path, done: Pass) -> None:
        """A published folder, which never changes."""
        target = self._place(folder)
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            done.folders += publication.publish_copy(self._copy.staging, target, lambda stage: _copy(folder, stage))
        except FileNotFoundError as error:
            if folder.exists():  # else retention has removed it meanwhile
                done.damaged.append(f"{error.filename} is missing")
        except LostFileError as error:
            done.damaged.append(str(error))

    def _holds(self, file: Path, content: bytes) -> bool:
        target = self._place(file)
        return target.exists() and target.read_bytes() == content

    def _replace(self, file: Path, content: bytes) -> None:
        target = self._place(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, content)

    def _remove_what_retention_removed(self) -> None:
        """Steps that the run has no longer, though it has a later one."""
        for source in (self._run.checkpoints, self._run.snapshots):
            here = steps_in(source)
            for step in steps_in(self._place(source)) - here:
                if here and step < max(here):
                    publication.remove(self._copy.staging, self._place(source) / step_name(step))


def follow(run: Path, target: Path, say: Callable[[str], object], *, on_begin: Callable[[Copying], object]) -> bool:
    """Keep a copy up with a run until it is over. on_begin: called before the first pass, so that a
    signal can end it.

    Raises:
        RunFolderError: `run` is no run folder, or the place is taken.
    """
    copying = Copying(open_run(run), target, say)
    on_begin(copying)
    return copying.follow()


def copy(run: Path, target: Path, say: Callable[[str], object]) -> bool:
    """Copy a run once; returns whether everything was copied.

    Raises:
        RunFolderError: `run` is no run folder, or the place is taken.
        OSError: the place cannot be written.
    """
    done = Copying(open_run(run), target, say).once()
    say(f"copied to {target}: {done.folders} folders, {done.files} files")
    for text in done.damaged:
        say(f"not copied: {text}")
    return not done.damaged


def is_copied(part: Path) -> bool:
    """Whether this part of a run folder is no matter of this machine alone."""
    return part.name not in LEFT_OUT and not part.name.startswith(".")


def whole_rows(file: Path) -> bytes:
    """The content of a file; of one that grows, without a torn last line."""
    content = file.read_bytes()
    return content[: content.rfind(b"\n") + 1] if file.suffix in GROWING else content


def is_set_aside(folder: Path) -> bool:
    """Whether what is in it no longer counts: it was damaged, and is copied as it is."""
    return folder.name == "quarantine" or folder.name.startswith(f"{DAMAGED}-")


def published_in(folder: Path) -> Iterator[Path]:
    """Published folders in a folder, itself among them; what is inside one belongs to it."""
    if is_set_aside(folder):
        return
    if (folder / MANIFEST).is_file():
        yield folder
        return
    for part in sorted(folder.iterdir()):
        if part.is_dir() and not part.name.startswith("."):
            yield from published_in(part)


def loose_files_in(part: Path) -> Iterator[Path]:
    """Files outside published folders."""
    if part.is_file():
        yield part
    elif is_set_aside(part):
        yield from sorted(path for path in part.rglob("*") if path.is_file() and not path.is_symlink())
    elif part.is_dir() and not (part / MANIFEST).is_file():
        for inner in sorted(part.iterdir()):
            if not inner.name.startswith("."):
                yield from loose_files_in(inner)


def _copy(folder: Path, stage: Path) -> None:
    """The files of a published folder, of links what they lead to; its manifest last.

    Raises:
        FileNotFoundError: one is missing.
        LostFileError: one is not what the manifest says.
    """
    told, manifest = (folder / MANIFEST).read_bytes(), publication.read_manifest(folder)
    for entry in manifest.files if manifest else ():
        target, digest = stage / entry.name, hashlib.sha256()
        target.parent.mkdir(parents=True, exist_ok=True)
        with (folder / entry.name).open("rb") as file, target.open("wb") as into:
            while block := file.read(BLOCK):
                digest.update(block)
                into.write(block)
            into.flush()
            os.fsync(into.fileno())
        if digest.hexdigest() != entry.sha256:
            raise LostFileError(f"{folder / entry.name} does not match the manifest's sha256")
    (stage / MANIFEST).write_bytes(told)
    publication.fsync(stage / MANIFEST)
