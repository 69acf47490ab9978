"""`python -m tasks.text_to_image.export RUN`: a snapshot in the format of another program, with its scale.

diffusers: one file for `load_lora_weights`. kohya: one file for ComfyUI, A1111 and Forge. peft: a folder per part for
`PeftModel.from_pretrained`, in one archive if the output's name ends in `.zip`. A run that trains the whole denoiser
has one format, diffusers: a folder or `.zip` of the whole pipeline. The snapshot itself is not changed; nothing is ever
overwritten.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from peft import LoraConfig
from transformers import CLIPTextConfig, CLIPTextModel

from shared.errors import ConfigError, ModelError, RunFolderError, exit_code_of, writing
from shared.files.publication import fsync, verify
from shared.files.replacing import replace_file
from shared.files.zipped import zip_folder
from shared.run_folder import averages
from shared.run_folder.file_to_ship import chosen_step
from shared.run_folder.run_dir import RunDir, open_run
from tasks.text_to_image import export_pipeline
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.families.loading import DTYPES, Precision
from tasks.text_to_image.lora import description, fitted, lora, weights_file
from tasks.text_to_image.models import adaptable, base_model, lora_file, trained_whole

Format = Literal["diffusers", "kohya", "peft"]
FORMATS: tuple[Format, ...] = ("diffusers", "kohya", "peft")


@dataclass(frozen=True)
class Adapter:
    """A snapshot as it was published."""

    weights: lora.State
    settings: dict[str, Any]
    """PEFT's configuration of each part, keyed `unet.r` and so on."""
    description: dict[str, str]
    family: Family

    @property
    def parts(self) -> list[str]:
        """Names of the parts that carry weights."""
        return sorted({key.partition(".")[0] for key in self.weights})


def main() -> int:
    """Export a snapshot and print the path of the result."""
    parser = argparse.ArgumentParser(prog="python -m tasks.text_to_image.export", description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--step", default="best", help="`best`, the step of a snapshot, or 750-900 for an average")
    parser.add_argument("--format", choices=FORMATS, help="kohya when absent; of a whole denoiser, diffusers")
    parser.add_argument("--output", type=Path, help="file or existing folder; for peft, new folder or .zip")
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="fp16")
    arguments = parser.parse_args()
    run = open_run(arguments.run)
    step = chosen_step(run, arguments.step)
    write = _write_pipeline if trained_whole.is_whole(run.read_config()) else _write_lora
    form, target = write(run, step, arguments)
    sys.stdout.write(f"{run.read_record().unit} {averages.label(step)} as {form}, {arguments.dtype}: {target}\n")
    if arguments.step == "best" and (note := _not_chosen(run)):
        sys.stdout.write(f"{note}\n")
    return 0


def _write_lora(run: RunDir, step: int, arguments: argparse.Namespace) -> tuple[str, Path]:
    """The format, and where it lies."""
    form: Format = arguments.format or "kohya"
    target = target_of(arguments.output, default_target(run, step, form), form)
    adapter = read(run, step)
    with writing("--output", target):
        export(adapter, form, arguments.dtype, target)
    return form, target


def _write_pipeline(run: RunDir, step: int, arguments: argparse.Namespace) -> tuple[str, Path]:
    """Likewise, of a run that trains the denoiser."""
    if arguments.format not in (None, export_pipeline.FORMAT):
        raise ConfigError(
            f"--format {arguments.format} is one of LoRAs, and this run trains the whole denoiser",
            f"give --format {export_pipeline.FORMAT}, or leave it out",
        )
    target = export_pipeline.target_of(run, step, arguments.output)
    with writing("--output", target):
        export_pipeline.export(run, step, arguments.dtype, target)
    return export_pipeline.FORMAT, target


def _not_chosen(run: RunDir) -> str:
    """That nothing says that the snapshot named is the best, where that is so."""
    best = run.read_best()
    if best is None or best.is_chosen:
        return ""
    named = f"{run.read_record().unit} {averages.label(best.step)}"
    return (
        f"{named} is the last that may be shipped, not the best by any measure: no metric ranks the snapshots, and "
        "nobody has voted (page Vote of the dashboard). --step names another"
    )


def default_target(run: RunDir, step: int, form: Format) -> Path:
    """`<run>/exports/<name>-<step>-<format>`."""
    stem = f"{run.read_record().name}-{averages.file_stem(step)}-{form}"
    return run.exports / (stem if form == "peft" else f"{stem}.safetensors")


def target_of(output: Path | None, usual: Path, form: Format) -> Path:
    """Where to write. Of a format of one file, a folder takes it under its usual name, and the file's name gets the
    ending without which no program finds it."""
    if output is None or form == "peft":
        return output or usual
    if output.is_dir():
        return output / usual.name
    return output if output.suffix == ".safetensors" else output.with_name(f"{output.name}.safetensors")


def read(run: RunDir, step: int) -> Adapter:
    """A published snapshot, checked against its manifest.

    Raises:
        RunFolderError, ModelError: it is damaged, or its header lacks what an export needs.
    """
    verify(run.snapshot(step))
    if run.read_record().imported:
        return _of_another_trainer(run, step)
    weights, header = weights_file.read(run.snapshot(step) / lora.LORA_FILE)
    family = description.family_of(header)
    if family is None or LORA_ADAPTER_METADATA_KEY not in header:
        raise ModelError(
            f"the header of the snapshot of step {step} does not name its base model",
            "export it with the older version of Darkroom that wrote it",
        )
    settings = json.loads(header.pop(LORA_ADAPTER_METADATA_KEY))
    facts = {**header, **_usage(run, step), "modelspec.date": run.read_record().created}
    return Adapter(weights, settings, facts, family)


def _of_another_trainer(run: RunDir, step: int) -> Adapter:
    """With what its own header says."""
    config, record = run.read_config(), run.read_record()
    settings = base_model.pinned(config.model, record.base_model)
    base = adaptable.of_files(settings.path, settings.revision, settings.variant)
    if base is None:
        base = fitted.base_of(loading.load_model(settings, "fp32"))
    try:
        file = lora_file.look_in(run.snapshot(step))
    except ConfigError as error:
        raise ModelError(str(error), error.hint) from None
    found = fitted.fit(file, base)
    header = {key: value for key, value in file.metadata.items() if key not in (LORA_ADAPTER_METADATA_KEY, "format")}
    facts = {"ss_sd_model_name": description.base_model_name(config), **header, **_usage(run, step)}
    return Adapter(found.weights, found.metadata, facts, base.family)


def _usage(run: RunDir, step: int) -> description.Description:
    """The recommended strength, where the verdict names one for this snapshot."""
    best = run.read_best()
    if best is None or best.step != step or best.strength is None:
        return {}
    if not best.ranked and best.strength.recommended == 1.0:  # nothing was compared
        return {}
    return {"modelspec.usage_hint": f"use at strength {best.strength.recommended:g}"}


def export(adapter: Adapter, form: Format, precision: Precision, target: Path) -> None:
    """Write the adapter to `target`, completely or not at all.

    Raises:
        RunFolderError: the target exists.
        ModelError: the format cannot hold this adapter, or the precision its values.
    """
    if target.exists():
        raise RunFolderError(f"{target} exists", f"give another --output, or move {target} away")
    target.parent.mkdir(parents=True, exist_ok=True)
    weights = _cast(adapter.weights, precision)
    if form == "peft":
        _write_folder(target, adapter, weights)
    else:
        replace_file(target, _diffusers(adapter, weights) if form == "diffusers" else _kohya(adapter, weights))


def _cast(weights: lora.State, precision: Precision) -> lora.State:
    converted = {key: value.to(DTYPES[precision]) for key, value in weights.items()}
    if not lora.is_finite(converted):
        raise ModelError(f"a weight is too large for {precision}", "give --dtype bf16 or --dtype fp32")
    return converted


def _diffusers(adapter: Adapter, weights: lora.State) -> bytes:
    text = json.dumps(adapter.settings, indent=2, sort_keys=True)
    return weights_file.encode(weights, {**adapter.description, LORA_ADAPTER_METADATA_KEY: text})


def _kohya(adapter: Adapter, weights: lora.State) -> bytes:
    """Refuses DoRA: diffusers does not read its `dora_scale`, and ComfyUI and A1111 interpret it in different ways."""
    if any(adapter.settings[f"{part}.use_dora"] for part in adapter.parts):
        raise ModelError(
            "kohya's format cannot hold this DoRA: programs that read the format interpret its magnitudes differently",
            "export it with --format diffusers or --format peft, or train with lora.use_dora = false",
        )
    scales = {module: lora.scale(module, adapter.settings) for module in lora.modules(weights)}
    facts = {
        **adapter.description,
        **_alphas(weights, scales),
        "modelspec.implementation": adapter.family.implementation,
    }
    return weights_file.encode(adapter.family.exported(weights, scales), facts)


def _alphas(weights: lora.State, scales: dict[str, float]) -> description.Description:
    """Rank and alpha for the header; alpha is the number that is divided by the rank. Also those of convolutions if
    they differ.
    """
    by_kind: dict[bool, tuple[int, float]] = {}
    for module, scale in scales.items():
        down = weights[f"{module}.lora_A.weight"]
        by_kind.setdefault(lora.is_convolution(down.shape), (len(down), scale * len(down)))
    rank, alpha = by_kind.get(False, by_kind.get(True, (0, 0.0)))
    return description.network(rank, alpha, *by_kind.get(True, (rank, alpha)))


def _write_folder(target: Path, adapter: Adapter, weights: lora.State) -> None:
    stage = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        for part in adapter.parts:
            _write_part(stage / part, part, adapter, weights)
        if target.suffix == ".zip":
            zip_folder(stage, target)
        else:
            stage.rename(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    fsync(target.parent)


def _write_part(folder: Path, part: str, adapter: Adapter, weights: lora.State) -> None:
    """Write `adapter_model.safetensors` and `adapter_config.json`; module names are the installed transformers'."""
    folder.mkdir(parents=True)
    start = f"{part}.text_model." if part == "text_encoder" and _is_flattened() else f"{part}."
    own = {
        f"base_model.model.{key.removeprefix(start)}".replace(f"{lora.MAGNITUDE}.weight", lora.MAGNITUDE): value
        for key, value in weights.items()
        if _is_of(key, part)
    }
    settings = {key.removeprefix(f"{part}."): value for key, value in adapter.settings.items() if _is_of(key, part)}
    settings["base_model_name_or_path"] = adapter.description["ss_sd_model_name"]
    cast("Any", LoraConfig)(**settings).save_pretrained(str(folder))
    (folder / "adapter_model.safetensors").write_bytes(weights_file.encode(own, adapter.description))
    for path in folder.iterdir():
        fsync(path)


def _is_of(key: str, part: str) -> bool:
    return key.partition(".")[0] == part


def _is_flattened() -> bool:
    """Whether the first text encoder has no `text_model`: transformers 5 removed it."""
    with torch.device("meta"):
        return not hasattr(CLIPTextModel(CLIPTextConfig(num_hidden_layers=1)), "text_model")


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
