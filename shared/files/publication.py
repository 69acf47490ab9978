"""Publishes a folder in a run: fill it in a staging folder, verify it, rename it to its final name.

A reader that sees a published name sees every byte of it. The order is fixed: files written, fsynced and made
readable; `manifest.json` last; the staging folder fsynced; rename; the parent fsynced. A published name is never
written again: the first publisher wins, so a process that wakes up late changes nothing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shlex
import shutil
import socket
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from shared.errors import LostFileError, RunFolderError
from shared.run_folder.records.manifest import FileEntry, Manifest

MANIFEST = "manifest.json"
FEW = 8
"""So many files are flushed one after another, and so many at once where there are more."""


def publish(staging: Path, target: Path, manifest: Manifest, write: Callable[[Path], None]) -> bool:
    """Let `write` fill a staging folder, seal it with `manifest`, rename it to `target`.

    Args:
        staging: the run's staging root, on the same filesystem as `target`.
        target: final folder; its parent exists.
        manifest: without `files`; they are listed here.
        write: called with the empty staging folder.

    Returns:
        False if `target` existed already; then nothing is changed.
    """

    def fill(stage: Path) -> None:
        write(stage)
        seal(stage, manifest)

    return publish_copy(staging, target, fill)


def publish_copy(staging: Path, target: Path, write: Callable[[Path], None]) -> bool:
    """Like `publish`, for a folder that has a manifest already: `write` fills the staging folder with all of it."""
    stage = stage_in(staging)
    stage.mkdir(parents=True)
    try:
        write(stage)
        return _rename(stage, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def remove(staging: Path, folder: Path) -> None:
    """Remove a published folder: rename it first, then delete it, so that no reader sees half of it."""
    shutil.rmtree(take_away(staging, folder), ignore_errors=True)


def take_away(staging: Path, folder: Path) -> Path:
    """Rename a published folder into the staging root, where it no longer counts; its place there, to be deleted."""
    staging.mkdir(exist_ok=True)
    stage = stage_in(staging)
    folder.rename(stage)
    return stage


def replace_link(staging: Path, link: Path, file: Path) -> None:
    """Let a link of a published folder lead to `file`, which has the same content; at no moment is there none."""
    stage = stage_in(staging)
    stage.mkdir(parents=True)
    try:
        (stage / link.name).symlink_to(file)
        (stage / link.name).replace(link)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def seal(stage: Path, manifest: Manifest) -> None:
    """Make every file readable and durable, then write the manifest that lists them."""
    entries: list[FileEntry] = []
    mode = stage.stat().st_mode & 0o666
    files = sorted(path for path in stage.rglob("*") if path.is_file())
    own = [path for path in files if not path.is_symlink()]  # what a link leads to is another program's
    for path in own:
        path.chmod(mode)  # safetensors leaves 0600; the folder's mode honours the umask
    fsync_all(own)
    for path in files:
        stat = path.stat()  # before the digest: a change meanwhile shows later
        mtime_ns = stat.st_mtime_ns if path.is_symlink() else None
        name = path.relative_to(stage).as_posix()
        entries.append(FileEntry(name=name, size=stat.st_size, sha256=sha256(path), mtime_ns=mtime_ns))
    for folder in (path for path in stage.rglob("*") if path.is_dir()):
        fsync(folder)
    record = manifest.model_copy(update={"files": tuple(entries)})
    (stage / MANIFEST).write_bytes(record.to_json())
    fsync(stage / MANIFEST)
    fsync(stage)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a published folder; None if there is none, and the folder then does not count as published."""
    try:
        return Manifest.read(folder / MANIFEST)
    except FileNotFoundError:
        return None


def verify(folder: Path) -> Manifest:
    """Check every file against the manifest.

    Raises:
        RunFolderError: the folder has no manifest.
        LostFileError: naming the first file that is missing, cannot be read, or has another size or content.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise RunFolderError(f"{folder} has no {MANIFEST}", f"move {folder} away: Darkroom did not publish it")
    for entry in manifest.files:
        path = folder / entry.name
        named = path.readlink() if path.is_symlink() else path
        of_another = "restore it: the run links to it and has no copy"  # moved away, its snapshot would be taken again
        cure = of_another if path.is_symlink() else f"restore it, or move {folder} away"
        of_changed = f"{cure}; or evaluate all again with --new" if path.is_symlink() else cure
        try:
            if not path.is_file():
                moved = f"; if it was moved: `{new_folder_command(folder.parents[1])}`" if path.is_symlink() else ""
                raise LostFileError(f"{named} is missing{moved}", cure)
            if (size := path.stat().st_size) != entry.size:
                raise LostFileError(f"{named} has {size} bytes, the manifest says {entry.size}", of_changed)
            if sha256(path) != entry.sha256:
                raise LostFileError(f"{named} does not match the manifest's sha256", of_changed)
        except OSError as error:  # a network drive that is away, say
            raise LostFileError(f"{named} cannot be read: {error.strerror}", cure) from None
    return manifest


def new_folder_command(run: Path, folder: str = "NEW_FOLDER") -> str:
    """What goes on with a run of another trainer's files, in the folder where they lie by now."""
    output = "" if run.parent == Path("runs").resolve() else f" --output {shlex.quote(str(run.parent))}"
    return f"python run.py evaluate {folder} --name {run.name}{output}"


def sweep(staging: Path) -> None:
    """Remove staging folders that dead processes of this machine left."""
    for stage in staging.glob("*"):
        if not owner_lives(stage):
            shutil.rmtree(stage, ignore_errors=True)


def owner_lives(stage: Path) -> bool:
    """Whether the process that fills a staging folder may still run; always True for another machine."""
    match = re.fullmatch(re.escape(socket.gethostname()) + r"-(\d+)-[0-9a-f]{8}", stage.name)
    return match is None or psutil.pid_exists(int(match[1]))


def sha256(path: Path) -> str:
    """Digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fsync(path: Path) -> None:
    """Flush a file or a folder to the disk. Windows cannot open a folder, and keeps its entries without that."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_all(paths: Sequence[Path]) -> None:
    """Flush many files at the same time: the file system then writes them together, in a fraction of the time."""
    if len(paths) <= FEW:
        for path in paths:
            fsync(path)
        return
    with ThreadPoolExecutor(FEW) as pool:
        for _ in pool.map(fsync, paths):  # raises what a thread raised
            pass


def stage_in(staging: Path) -> Path:
    """A staging folder named after its owner, so that `sweep` can remove it when the owner is dead."""
    return staging / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def _rename(stage: Path, target: Path) -> bool:
    try:
        stage.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    fsync(target.parent)
    return True
