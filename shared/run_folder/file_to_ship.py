"""The file of a snapshot that a person takes away. Where the snapshot links to another trainer's file, it is that one:
in the run folder the LoRAs of SimpleTuner and of diffusers all have one name.
"""

from __future__ import annotations

from pathlib import Path

from shared.errors import RunFolderError
from shared.files.publication import MANIFEST
from shared.run_folder import averages
from shared.run_folder.run_dir import RunDir


def file_to_ship(run: RunDir, step: int) -> Path:
    """The file, or the folder of a LoRA that consists of several. It may have been deleted.

    step: or the number of an average.
    """
    folder = run.snapshot(step)
    files = sorted(path for path in folder.rglob("*") if path.name != MANIFEST and not path.is_dir())
    weights = [path for path in files if path.suffix == ".safetensors"]
    if not weights:
        return folder
    first = weights[0]
    if not first.is_symlink():
        return first
    source = first.readlink()
    return source if len(files) == 1 else source.parents[len(first.relative_to(folder).parts) - 1]


def is_gone(run: RunDir, step: int) -> bool:
    """Whether another trainer's files, to which the snapshot links, have been deleted or moved."""
    return any(path.is_symlink() and not path.exists() for path in run.snapshot(step).rglob("*"))


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
        raise RunFolderError(
            f"there is no snapshot of {run.read_record().unit} {name if step is None else step}",
            f"choose one of: {steps}",
        )
    return step
