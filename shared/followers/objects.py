"""Copies a run to object storage, keeps the copy up with it, and brings it back: any place that fsspec has a name for.

Object storage has no rename, so the order says what is whole: the files of a published folder, each compared with its
digest while it is sent, then its `manifest.json`. A folder without one does not count. Tables and records are replaced
whole, after the folders; `run.json` is last. Who brings a run back compares every file with its manifest.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec  # pyright: ignore[reportMissingTypeStubs]

from shared.errors import ConfigError, DarkroomError, LostFileError, RunFolderError
from shared.files import publication
from shared.files.publication import MANIFEST, read_manifest
from shared.files.replacing import replace_file
from shared.followers.copies import BLOCK, MARK, Keeping, Pass
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir, open_run, step_name, steps_in

_BEING_SENT = re.compile(r"(^|/)(step-\d+|references)/")
"""Objects of a folder that is published as a whole, and has no manifest there yet."""
_MISSING_PACKAGE = re.compile(r"install ([\w-]+)", re.IGNORECASE)


def is_address(text: str) -> bool:
    """Whether this names object storage and no folder of this machine."""
    return "://" in text


class Store:
    """One folder of a file system of fsspec."""

    def __init__(self, address: str) -> None:
        """Raises ConfigError: nothing installed knows such an address."""
        self.address = address.rstrip("/")
        try:
            found: tuple[Any, str] = fsspec.url_to_fs(self.address, use_listings_cache=False)
        except ImportError as error:
            match = _MISSING_PACKAGE.search(str(error))
            package = match[1] if match else str(error)
            raise ConfigError(f"{address} needs {package}, which is not installed", f"pip install {package}") from None
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{address}: {error}", "give a folder, or an address such as s3://bucket/run") from None
        self._files, root = found
        self._root = root.rstrip("/")

    def sizes(self) -> dict[str, int]:
        """Every object under the folder, by its path from there, with its bytes."""
        with _as_os_error(self.address):
            self._files.invalidate_cache()
            if not self._files.exists(self._root):
                return {}
            found: Mapping[str, Mapping[str, Any]] = self._files.find(self._root, detail=True)
        return {path.removeprefix(self._root).lstrip("/"): int(facts["size"] or 0) for path, facts in found.items()}

    def read(self, name: str) -> bytes:
        """The content of one object."""
        with _as_os_error(self.address):
            return bytes(self._files.cat_file(self._path(name)))

    def replace(self, name: str, content: bytes) -> None:
        """Write one object whole."""
        with _as_os_error(self.address):
            self._files.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(self._path(name), content)

    def send(self, file: Path, name: str) -> str:
        """Write a file as one object; returns the digest of what was sent."""
        digest = hashlib.sha256()
        with _as_os_error(self.address):
            self._files.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
            with file.open("rb") as source, self._files.open(self._path(name), "wb") as into:
                while block := source.read(BLOCK):
                    digest.update(block)
                    into.write(block)
        return digest.hexdigest()

    def fetch(self, name: str, file: Path) -> str:
        """Write one object as a file; returns the digest of what came."""
        digest = hashlib.sha256()
        file.parent.mkdir(parents=True, exist_ok=True)
        with _as_os_error(self.address), self._files.open(self._path(name), "rb") as source, file.open("wb") as into:
            while block := source.read(BLOCK):
                digest.update(block)
                into.write(block)
        publication.fsync(file)
        return digest.hexdigest()

    def remove(self, folder: str) -> None:
        """A published folder: its manifest first, so that no reader takes half of it for all. Where a listing lags, it
        may be gone already."""
        with _as_os_error(self.address), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(f"{folder}/{MANIFEST}"))
        with _as_os_error(self.address), contextlib.suppress(FileNotFoundError):
            self._files.rm(self._path(folder), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


class Uploading(Keeping):
    """One run and the object storage of its copy."""

    def __init__(self, run: RunDir, address: str, say: Callable[[str], object] = lambda text: None) -> None:
        """Look at the place; nothing is written.

        Raises:
            ConfigError: nothing installed knows such an address.
            RunFolderError: the place holds something that is no copy of this run.
        """
        super().__init__(run, address, say)
        self._store = Store(address)
        self._there: dict[str, int] = {}
        with _writing(address):
            self._require_ours()

    def _prepare(self) -> None:
        self._there = self._store.sizes()
        if MARK not in self._there:
            self._store.replace(MARK, self._id.encode())

    def _name(self, path: Path) -> str:
        return path.relative_to(self._run.path).as_posix()

    def _folder(self, folder: Path, done: Pass) -> None:
        name = self._name(folder)
        if f"{name}/{MANIFEST}" in self._there:
            return
        try:
            told, manifest = (folder / MANIFEST).read_bytes(), read_manifest(folder)
            for entry in manifest.files if manifest else ():
                if self._store.send(folder / entry.name, f"{name}/{entry.name}") != entry.sha256:
                    raise LostFileError(f"{folder / entry.name} does not match the manifest's sha256")
        except FileNotFoundError as error:
            if folder.exists():  # else retention has removed it meanwhile
                done.damaged.append(f"{error.filename} is missing")
        except (LostFileError, RunFolderError) as error:
            done.damaged.append(str(error))
        else:
            self._store.replace(f"{name}/{MANIFEST}", told)
            done.folders += 1

    def _holds(self, file: Path, content: bytes) -> bool:
        name = self._name(file)
        return self._there.get(name) == len(content) and self._store.read(name) == content

    def _replace(self, file: Path, content: bytes) -> None:
        self._store.replace(self._name(file), content)

    def _remove_what_retention_removed(self) -> None:
        """Steps that the run has no longer, though it has a later one."""
        for source in (self._run.checkpoints, self._run.snapshots):
            here = steps_in(source)
            for step in range(max(here, default=0)):
                folder = f"{source.name}/{step_name(step)}"
                if step not in here and f"{folder}/{MANIFEST}" in self._there:
                    self._store.remove(folder)

    def _require_ours(self) -> None:
        there, cure = self._store.sizes(), "give another address, or an empty place"
        if MARK in there:
            if (other := self._store.read(MARK).decode(errors="replace")) != self._id:
                raise RunFolderError(f"{self._store.address} holds another run ({other})", cure)
        elif there:
            raise RunFolderError(f"{self._store.address} is not empty and holds no copy of this run", cure)


def bring(address: str, target: Path, say: Callable[[str], object]) -> bool:
    """Bring a run from object storage into a folder of this machine; whether everything came.

    What is there already is not brought again. A folder of which not every file is what its manifest says is left out.

    Raises:
        ConfigError: nothing installed knows such an address.
        RunFolderError: no run is there, or the folder holds something else.
        OSError: the place cannot be read, or the folder not be written.
    """
    store, run, done = Store(address), RunDir(target.resolve()), Pass()
    there = store.sizes()
    if "run.json" not in there:
        raise RunFolderError(f"{address} holds no run", "give the address that a run was copied to, to its end")
    _require_place(run, target, store)
    run.path.mkdir(parents=True, exist_ok=True)
    run.staging.mkdir(exist_ok=True)
    publication.sweep(run.staging)
    folders = [str(PurePosixPath(name).parent) for name in sorted(there) if PurePosixPath(name).name == MANIFEST]
    for folder in folders:
        _bring_folder(store, folder, run, done)
    loose = [name for name in there if not any(name.startswith(f"{folder}/") for folder in folders)]
    loose = [name for name in loose if name != MARK and not _BEING_SENT.search(name)]
    for name in sorted(loose, key=lambda name: name == "run.json"):
        content, place = store.read(name), run.path / name
        if not place.is_file() or place.read_bytes() != content:
            place.parent.mkdir(parents=True, exist_ok=True)
            replace_file(place, content)
            done.files += 1
    say(f"copied to {target}: {done.folders} folders, {done.files} files")
    for text in done.damaged:
        say(f"not copied: {text}")
    return not done.damaged


def _bring_folder(store: Store, folder: str, run: RunDir, done: Pass) -> None:
    place = run.path / folder
    if place.exists():
        return
    told = store.read(f"{folder}/{MANIFEST}")

    def write(stage: Path) -> None:
        (stage / MANIFEST).write_bytes(told)
        manifest = Manifest.read(stage / MANIFEST)
        for entry in manifest.files:
            if store.fetch(f"{folder}/{entry.name}", stage / entry.name) != entry.sha256:
                raise LostFileError(f"{store.address}/{folder}/{entry.name} does not match the manifest's sha256")
        publication.fsync(stage / MANIFEST)

    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        done.folders += publication.publish_copy(run.staging, place, write)
    except (FileNotFoundError, LostFileError, RunFolderError) as error:
        done.damaged.append(str(error))


def _require_place(run: RunDir, target: Path, store: Store) -> None:
    cure = "give another folder, or an empty one"
    if run.record.is_file():
        if run.read_record().run_id.encode() != store.read(MARK):
            raise RunFolderError(f"{target} holds another run ({run.read_record().run_id})", cure)
    elif (
        target.exists() and any(not part.name.startswith(".") for part in target.iterdir()) and not run.config.exists()
    ):
        raise RunFolderError(f"{target} is not empty and holds no run", cure)


@contextmanager
def _as_os_error(address: str) -> Generator[None]:
    """Each storage has errors of its own for what is a failure to read or write.

    Raises:
        OSError: whose `strerror` says why.
    """
    try:
        yield
    except (OSError, DarkroomError) as error:
        if isinstance(error, FileNotFoundError) or getattr(error, "strerror", None):
            raise
        raise OSError(0, str(error) or type(error).__name__, address) from error
    except Exception as error:
        raise OSError(0, f"{type(error).__name__}: {error}", address) from error


@contextmanager
def _writing(address: str) -> Generator[None]:
    """Raises ConfigError: the storage cannot be read or written, with its reason."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{address} cannot be reached: {error.strerror}", "check the address and your access to it"
        ) from None


def copy(run: Path, address: str, say: Callable[[str], object]) -> bool:
    """Copy a run once; returns whether everything was copied.

    Raises:
        ConfigError, RunFolderError: the place cannot be used.
    """
    with _writing(address):
        done = Uploading(open_run(run), address, say).once()
    say(f"copied to {address}: {done.folders} folders, {done.files} files")
    for text in done.damaged:
        say(f"not copied: {text}")
    return not done.damaged


def follow(run: Path, address: str, say: Callable[[str], object], *, on_begin: Callable[[Keeping], object]) -> bool:
    """Keep a copy up with a run until it is over. on_begin: called before the first pass."""
    keeping = Uploading(open_run(run), address, say)
    on_begin(keeping)
    return keeping.follow()
