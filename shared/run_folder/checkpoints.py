"""Checkpoints by their manifests alone: which is the newest complete one, and how a run starts from or goes back to
another.

Their contents are the trainer's (`trainer/checkpoint.py`).
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from shared.errors import RunFolderError
from shared.files.publication import publish, read_manifest, verify
from shared.run_folder.heartbeat import vacant
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.records.run_record import Origin
from shared.run_folder.run_dir import RunDir, step_name, steps_in

DAMAGED = "damaged"
LEFT = "left"
"""Prefixes of folders moved aside: a damaged checkpoint, and a complete one that is later than the step the run went
back to."""


def newest_whole(run: RunDir) -> int | None:
    """Step of the newest checkpoint of this run that matches its manifest; None without any. Reads the whole
    checkpoint."""
    return next((step for step in own_steps(run) if damage(run, step) is None), None)


def own_steps(run: RunDir) -> list[int]:
    """Steps of this run's checkpoints, newest first, with damaged ones, without those of another run."""
    run_id = run.read_record().run_id
    return [step for step in sorted(steps_in(run.checkpoints), reverse=True) if not _foreign(run, step, run_id)]


def damage(run: RunDir, step: int) -> str | None:
    """What is wrong with the checkpoint of a step; None if it is complete."""
    try:
        verify(run.checkpoint(step))
    except RunFolderError as error:
        return str(error)
    return None


def move_aside(run: RunDir, step: int, prefix: str) -> Path:
    """Rename a checkpoint, so that it no longer counts but a person can look at it; returns its new path."""
    folder = run.checkpoints / f"{prefix}-{step_name(step)}-{uuid.uuid4().hex[:8]}"
    run.checkpoint(step).rename(folder)
    return folder


def go_back(run: RunDir, folder: Path) -> None:
    """Make a complete checkpoint of this run, or a copy of one, the one it resumes from.

    Later ones are moved aside, newest first.

    Raises:
        RunFolderError: a trainer is at work, or `folder` is not a whole checkpoint of this run.
    """
    manifest = verify_checkpoint(folder)
    record = run.read_record()
    if manifest.run_id != record.run_id:
        raise RunFolderError(f"{folder} is a checkpoint of another run", "begin another run at it by --new")
    with vacant(run, "trainer"):
        for later in own_steps(run):
            if later > manifest.step:
                move_aside(run, later, LEFT)
        if run.checkpoint(manifest.step).exists() and damage(run, manifest.step):
            move_aside(run, manifest.step, DAMAGED)
        publish(run.staging, run.checkpoint(manifest.step), manifest, _copier(folder, manifest))


def adopt(run: RunDir, folder: Path) -> None:
    """Start a new run at a checkpoint of any run: it becomes the run's first, and `run.json` names it.

    Raises:
        RunFolderError: `folder` is not a whole checkpoint.
    """
    manifest = verify_checkpoint(folder)
    record = run.read_record()
    details = {key: value for key, value in manifest.details.items() if key != "pictures_per_step"}  # another stream
    mine = Manifest(kind="checkpoint", run_id=record.run_id, step=manifest.step, details=details)
    publish(run.staging, run.checkpoint(manifest.step), mine, _copier(folder, manifest))
    origin = Origin(path=str(folder.resolve()), run_id=manifest.run_id, step=manifest.step, digest=manifest.digest())
    record.model_copy(update={"origin": origin}).write(run.record)


def verify_checkpoint(folder: Path) -> Manifest:
    """The manifest of a whole checkpoint.

    Raises:
        RunFolderError: it is damaged, or no checkpoint of at least one step.
    """
    if not folder.is_dir():
        raise RunFolderError(f"{folder} is not a folder", "give a folder of a run's checkpoints/")
    manifest = verify(folder)
    if manifest.kind != "checkpoint" or manifest.step < 1:
        raise RunFolderError(f"{folder} is a {manifest.kind}", "give a folder of a run's checkpoints/")
    return manifest


def _copier(folder: Path, manifest: Manifest) -> Callable[[Path], None]:
    def copy(stage: Path) -> None:
        for entry in manifest.files:
            shutil.copyfile(folder / entry.name, stage / entry.name)

    return copy


def _foreign(run: RunDir, step: int, run_id: str) -> bool:
    """Whether a folder's readable manifest says that it is not this run's checkpoint of this step."""
    try:
        manifest = read_manifest(run.checkpoint(step))
    except RunFolderError:
        return False
    return manifest is not None and (manifest.run_id, manifest.step) != (run_id, step)
