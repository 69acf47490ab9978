"""The file of a snapshot that a person takes away. Where the snapshot links to another trainer's file, it is that one:
in the run folder the LoRAs of SimpleTuner and of diffusers all have one name.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache
from pathlib import Path
from typing import Literal

from shared.errors import RunFolderError
from shared.files.publication import MANIFEST, new_folder_command, read_manifest, sha256
from shared.run_folder import averages
from shared.run_folder.records.manifest import FileEntry
from shared.run_folder.run_dir import RunDir

FileState = Literal["same", "gone", "changed"]


def file_to_ship(run: RunDir, step: int) -> Path:
    """The file, or the folder of a LoRA that consists of several. It may have been deleted.

    step: or the number of an average.
    """
    folder = run.snapshot(step)
    files = sorted(path for path in folder.rglob("*") if path.name != MANIFEST and not path.is_dir())
    weights = [path for path in files if path.suffix.lower() == ".safetensors"]
    if not weights:
        return folder
    first = weights[0]
    if not first.is_symlink():
        return first
    source = first.readlink()
    return source if len(files) == 1 else source.parents[len(first.relative_to(folder).parts) - 1]


def file_state(run: RunDir, step: int) -> FileState:
    """Whether another trainer's files, to which the snapshot links, are those that it was made of. Own files are.

    A file is read only if its time is not the one noted with its digest, and once while it does not change.
    """
    folder = run.snapshot(step)
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    manifest = None
    with contextlib.suppress(RunFolderError):  # a damaged one is told elsewhere
        manifest = read_manifest(folder) if links else None
    entries = {entry.name: entry for entry in manifest.files} if manifest else {}
    found: FileState = "same"
    for link in links:
        entry = entries.get(link.relative_to(folder).as_posix())
        try:
            is_same = _is(link, entry)
        except OSError:  # also of a network drive that is away
            return "gone"
        found = found if is_same else "changed"
    return found


def why_not_shippable(run: RunDir, step: int) -> str:
    """Why a snapshot cannot be shipped, in a clause with its cure; empty: its files are those that were evaluated."""
    if (gone := run.read_deleted(step)) is not None:
        return f"its weights were deleted, because train.snapshots_total_limit was {gone.limit}"
    found = file_state(run, step)
    if found == "same":
        return ""
    file = file_to_ship(run, step)
    if found == "gone":
        return f"{file} has been deleted or moved; if it was moved: `{new_folder_command(run.path)}`"
    return f"{file} is no longer the LoRA that was evaluated: restore it, or evaluate all again with --new"


def is_gone(run: RunDir, step: int) -> bool:
    """Whether another trainer's files, to which the snapshot links, have been deleted or moved."""
    return any(path.is_symlink() and not _exists(path) for path in run.snapshot(step).rglob("*"))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _is(link: Path, entry: FileEntry | None) -> bool:
    stat = link.stat()
    if entry is None:
        return True
    if stat.st_size != entry.size or stat.st_mtime_ns == entry.mtime_ns:
        return stat.st_size == entry.size
    return _digest(link.resolve(), stat.st_size, stat.st_mtime_ns) == entry.sha256


@lru_cache(maxsize=256)
def _digest(path: Path, *_: int) -> str:
    return sha256(path)


def chosen_step(run: RunDir, name: str) -> int:
    """The step, or the number of an average, that `best`, `900` or `750-900` means.

    Raises:
        RunFolderError: there is no best snapshot yet, or no snapshot of that step.
    """
    best = run.read_best()
    if name == "best" and best is None:
        raise RunFolderError(
            f"no snapshot of {run.path} is the best yet",
            "give --step N, or evaluate the remaining snapshots with `python run.py evaluate`",
        )
    step = best.step if name == "best" and best else averages.parse(name)
    published = {**run.published_snapshots(), **run.published_averages()}
    if step not in published:
        steps = ", ".join(map(averages.label, published)) or "none"
        if step is not None and (gone := run.read_deleted(step)):
            raise RunFolderError(
                f"the weights of {run.read_record().unit} {step} were deleted, because train.snapshots_total_limit was "
                f"{gone.limit}; its results are there",
                f"choose one of: {steps}",
            )
        raise RunFolderError(
            f"there is no snapshot of {run.read_record().unit} {name if step is None else step}",
            f"choose one of: {steps}",
        )
    return step
