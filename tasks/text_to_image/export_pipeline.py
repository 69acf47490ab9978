"""A snapshot of a run that trains the denoiser, as a whole pipeline that plain diffusers loads.

It holds the snapshot's denoiser, VAE and text encoders of the base model, and the scheduler that the evaluator draws
with: the same prompt, seed and settings give the evaluated picture.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Any

from shared.config.schema import Config
from shared.errors import ModelError, RunFolderError
from shared.files.publication import fsync, verify
from shared.files.zipped import zip_folder
from shared.run_folder import averages
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.loading import Precision
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.models import external_vae
from tasks.text_to_image.weights import whole_denoiser

FORMAT = "diffusers"


def target_of(run: RunDir, step: int, output: Path | None) -> Path:
    """`<run>/exports/<name>-<step>-diffusers`, or what `--output` says: a new folder, or a .zip."""
    usual = f"{run.read_record().name}-{averages.file_stem(step)}-{FORMAT}"
    if output is None:
        return run.exports / usual
    return output / usual if output.is_dir() else output


def export(run: RunDir, step: int, precision: Precision, target: Path) -> None:
    """Write the pipeline to a folder, or an archive if its name ends in .zip; completely or not at all.

    Raises:
        RunFolderError: the target exists, or the snapshot is damaged.
        ModelError: the base model cannot be loaded, or the precision cannot hold a weight.
    """
    if target.exists():
        raise RunFolderError(f"{target} exists", f"give another --output, or move {target} away")
    model = load(run, step, precision)
    target.parent.mkdir(parents=True, exist_ok=True)
    stage = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        model.pipeline.save_pretrained(stage, safe_serialization=True)
        for path in (file for file in stage.rglob("*") if file.is_file()):
            fsync(path)
        if target.suffix == ".zip":
            zip_folder(stage, target)
        else:
            stage.rename(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    fsync(target.parent)


def load(run: RunDir, step: int, precision: Precision) -> Model:
    """The base model with the snapshot's denoiser and the evaluator's scheduler, whole, on the CPU.

    Raises:
        RunFolderError, ModelError: as `export`.
    """
    config = run.read_config()
    folder = run.snapshot(step)
    verify(folder)
    weights = whole_denoiser.read(folder)
    model = loading.load_model(
        external_vae.pinned(config.model, run.read_record().base_model),
        precision,
        denoiser=_denoiser(config, precision),
        zero_terminal_snr=config.train.zero_terminal_snr,
    )
    model.sample_with(config.evaluation.scheduler)
    whole_denoiser.require_same(weights, model.denoiser, whole_denoiser.WEIGHTS_FILE)
    whole_denoiser.put(weights, model.denoiser)
    if not all(bool(value.isfinite().all()) for value in model.denoiser.state_dict().values()):
        raise ModelError(f"a weight is too large for {precision}", "give --dtype bf16 or --dtype fp32")
    model.hold_text_encoders(model.device)
    _forget_places(model.pipeline)
    return model


def _denoiser(config: Config, precision: Precision) -> loading.OwnDenoiser | None:
    if config.train.what != "scratch":
        return None
    return loading.OwnDenoiser(precision, config.train.seed)


def _forget_places(pipeline: Any) -> None:
    """Saved configurations would name the folders of this machine that parts were loaded from."""
    pipeline.register_to_config(_name_or_path="")
    for part in pipeline.components.values():
        if hasattr(part, "register_to_config"):
            part.register_to_config(_name_or_path="")
        elif hasattr(part, "name_or_path"):
            part.name_or_path = ""
        if hasattr(getattr(part, "config", None), "name_or_path"):
            part.config.name_or_path = ""
