"""All snapshots and checkpoints of a run in one zip, with what says what they are: `run.py archive RUN`.

Every file is read once: its digest is compared with the manifest's while it is written. The archive appears whole or
not at all.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from shared.errors import LostFileError, RunFolderError
from shared.files.publication import MANIFEST, fsync, read_manifest
from shared.machine import disk
from shared.run_folder.records.manifest import FileEntry
from shared.run_folder.run_dir import RunDir

BLOCK = 1 << 20
ROOM = 1.01
"""What an archive takes, as a multiple of its files."""


def write(run: RunDir, target: Path, say: Callable[[str], object] = lambda text: None) -> int:
    """Write the archive; returns how many snapshots and checkpoints it holds. say: called for each.

    A checkpoint that a living trainer deletes meanwhile is in the archive whole, or left out.

    Raises:
        RunFolderError: nothing is published, the target exists, or the disk has no room.
        LostFileError: a file is missing or differs from its manifest.
    """
    if target.exists():
        raise RunFolderError(f"{target} exists", f"give another --output, or move {target} away")
    folders = list(_published(run))
    if not folders:
        raise RunFolderError(
            f"{run.path} has no snapshot and no checkpoint yet", "resume the run until it has saved one"
        )
    _require_room(folders, target)
    staging = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        with zipfile.ZipFile(staging, "w", zipfile.ZIP_STORED) as archive:  # weights do not compress
            count = sum(_add(archive, run, folder, say) for folder in folders)
            for path in _descriptions(run):
                archive.write(path, f"{run.path.name}/{path.relative_to(run.path).as_posix()}")
        fsync(staging)
        staging.rename(target)
    finally:
        staging.unlink(missing_ok=True)
    fsync(target.parent)
    return count


def _published(run: RunDir) -> Iterator[Path]:
    for step in sorted(run.published_snapshots()):
        yield run.snapshot(step)
    for step in sorted(run.published_averages()):
        yield run.snapshot(step)
    for step in sorted(run.published_checkpoints()):
        yield run.checkpoint(step)


def _descriptions(run: RunDir) -> list[Path]:
    """The files of a run that say what its snapshots are, those that there are."""
    files = (run.config, run.record, run.dataset, run.train_csv, run.validation_csv, run.metrics_csv, run.averages_csv)
    return [path for path in (*files, run.best, run.metric_descriptions) if path.is_file()]


def _require_room(folders: list[Path], target: Path) -> None:
    size = ROOM * sum(entry.size for folder in folders if (one := read_manifest(folder)) for entry in one.files)
    free = disk.free_bytes(target.parent)
    if free is not None and free < size:
        raise RunFolderError(
            f"the archive takes {disk.in_words(size)}, and {disk.in_words(free)} are free at {target.parent}",
            "free disk space, or give a place on another disk in --output",
        )


def _add(archive: zipfile.ZipFile, run: RunDir, folder: Path, say: Callable[[str], object]) -> int:
    """1, or 0 if the folder is gone. What is open stays readable when it is deleted."""
    name = folder.relative_to(run.path).as_posix()
    with ExitStack() as opened:
        try:
            manifest, told = read_manifest(folder), (folder / MANIFEST).read_bytes()
            entries = manifest.files if manifest else ()
            files = [opened.enter_context((folder / entry.name).open("rb")) for entry in entries]
        except FileNotFoundError as error:
            if folder.exists():
                raise LostFileError(f"{error.filename} is missing", f"restore it, or move {folder} away") from None
            say(f"{name} was deleted meanwhile: it is left out")
            return 0
        for entry, file in zip(entries, files, strict=True):
            _copy(archive, file, folder, entry, f"{run.path.name}/{name}/{entry.name}")
        archive.writestr(f"{run.path.name}/{name}/{MANIFEST}", told)
    say(name)
    return 1


def _copy(archive: zipfile.ZipFile, file: IO[bytes], folder: Path, entry: FileEntry, name: str) -> None:
    written = time.localtime(os.fstat(file.fileno()).st_mtime)
    digest = hashlib.sha256()
    with archive.open(zipfile.ZipInfo(name, written[:6]), "w", force_zip64=True) as into:
        while block := file.read(BLOCK):
            digest.update(block)
            into.write(block)
    if digest.hexdigest() != entry.sha256:
        raise LostFileError(
            f"{folder / entry.name} does not match the manifest's sha256", f"restore it, or move {folder} away"
        )
