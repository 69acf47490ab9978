"""What is told of a LoRA or a whole model that draws when it is published: `run.py publish`, see `tasks.publish`.

The weights are written by `export`, whose module is loaded only then, because it loads torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copyfile
from typing import Any

from shared.config.schema import Config
from shared.errors import ConfigError
from shared.publishing import base_model as published_base
from shared.publishing.pictures import Shown
from shared.publishing.places import cleaner
from shared.publishing.publication import Publication, Request, Weights
from shared.run_folder import averages
from shared.run_folder.known_settings import known_settings
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image import usage
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.models import base_model, trained_whole
from tasks.text_to_image.usage import Base

SNAPSHOT_FILE = "pytorch_lora_weights.safetensors"
TOLD = {
    "lora.rank": "rank",
    "lora.lora_alpha": "alpha",
    "train.learning_rate": "learning rate",
    "train.train_batch_size": "pictures at once",
    "train.gradient_accumulation_steps": "batches per step",
    "train.optimizer": "optimizer",
    "data.resolution": "resolution",
}
"""Settings that the card tells, and what it calls them."""


def describe(run: RunDir, step: int, request: Request, shown: Shown) -> Publication:
    """Everything but numbers and pictures. shown: the pictures that the card shows, whose first one its code draws.

    Raises:
        ConfigError: this form cannot hold it.
        ModelError: the base model's files are not what they should be.
    """
    config = run.read_config()
    whole = trained_whole.is_whole(config)
    if whole and request.form == "zip":
        raise ConfigError(
            "--to is a zip for sites that take one file, and this run trains a whole pipeline of several",
            "give owner/name or a folder",
        )
    family = base_model.family_or_guess(config.model)
    base = base_of(config, request.base_model)
    weights = _pipeline(run, step) if whole else _lora_files(run, step, config, family, request)
    drawing = usage.Drawing(request, "" if whole else SNAPSHOT_FILE, base, family, shown, _trigger(config))
    others = next((one.names[0] for one in weights if SNAPSHOT_FILE not in one.names), "")
    parts = usage.of_whole(drawing) if whole else usage.of_lora(drawing, others)
    what = {
        "lora": "A LoRA for",
        "full": "A fine-tuned version of",
        "scratch": "A model trained from scratch on the VAE of",
    }
    named = published_base.linked(base.name, base.hub_id)
    return Publication(
        summary=f"{what[config.train.what]} {named} ({family.title}).",
        weights=weights,
        facts={
            **({"trigger word": f"`{_trigger(config)}`"} if _trigger(config) else {}),
            "base model": named,
            **({"clip skip": f"{config.model.clip_skip}"} if config.model.clip_skip > 1 else {}),
        },
        usage=parts,
        training=_training(run, step, config),
        metadata=_metadata(config, family, base, whole=whole),
        licence=published_base.licence(config.model.path, base.hub_id),
        has_strength=not whole,
        cautions=() if whole else published_base.cautions(base.name, base.hub_id),  # a pipeline is published whole
    )


def base_of(config: Config, given: str) -> Base:
    """What the card calls the base model. given: its hub id, where the run has loaded it from this disk."""
    place = config.model.path
    if hub_id := published_base.hub_id(place, given):
        return Base(hub_id, hub_id, hub_id, is_file=False)
    if place in base_model.EMBEDDED_FOLDERS:
        folder = base_model.EMBEDDED_FOLDERS[place]
        return Base(place, f"{folder.parent.name}/{folder.name}", "", is_file=False)
    name = Path(place).name
    return Base(Path(place).stem if Path(place).is_file() else name, name, "", is_file=Path(place).suffix != "")


def _trigger(config: Config) -> str:
    return config.data.trigger_word


def _lora_files(run: RunDir, step: int, config: Config, family: Family, request: Request) -> tuple[Weights, ...]:
    """In the format of ComfyUI, and in that of diffusers, which is the file that was evaluated."""
    clean = cleaner(run)
    comfy = "ComfyUI, A1111, Forge" if family.kind == "ddpm" else "ComfyUI"
    kohya = Weights((f"{request.name}.safetensors",), comfy, _exporter(run, step, "kohya", request.name, clean))
    if request.form == "zip":
        return (kohya,)
    diffusers = Weights((SNAPSHOT_FILE,), "diffusers", _exporter(run, step, "diffusers", SNAPSHOT_FILE, clean))
    return (diffusers,) if config.lora.use_dora else (kohya, diffusers)


def _exporter(run: RunDir, step: int, form: str, name: str, clean: Callable[[str], str]) -> Callable[[Path], None]:
    """Our own snapshot is copied as it is; in every other file the header names no place of this machine."""

    def write(folder: Path) -> None:
        from tasks.text_to_image import export  # noqa: PLC0415 - it loads torch

        adapter = export.read(run, step)
        own = run.snapshot(step) / SNAPSHOT_FILE
        if form == "diffusers" and run.read_record().imported is None and own.is_file():
            copyfile(own, folder / SNAPSHOT_FILE)
            return
        told = {key: clean(value) for key, value in adapter.description.items()}
        target = export.target_of(folder / name, folder / name, "kohya")
        export.export(replace(adapter, description=told), form, "fp32" if form == "diffusers" else "fp16", target)  # type: ignore[arg-type]

    return write


def _pipeline(run: RunDir, step: int) -> tuple[Weights, ...]:
    def write(folder: Path) -> None:
        from tasks.text_to_image import export_pipeline  # noqa: PLC0415 - it loads torch

        pipeline = folder / "pipeline"
        export_pipeline.export(run, step, "fp16" if not _needs_fp32(run) else "bf16", pipeline)
        for path in sorted(pipeline.iterdir()):
            path.rename(folder / path.name)
        pipeline.rmdir()

    return (Weights(("model_index.json", "and a folder for each part of the pipeline/"), "diffusers", write),)


def _needs_fp32(run: RunDir) -> bool:
    return base_model.family_or_guess(run.read_config().model).overflows_in_fp16


def _training(run: RunDir, step: int, config: Config) -> dict[str, str]:
    settings, record = known_settings(run, config), run.read_record()
    told: dict[str, str] = {"trained with": _trainer(run), record.unit: averages.label(step)}
    if record.dataset.num_images and record.imported is None:
        pictures = record.dataset.num_images - len(record.dataset.kept_away)
        told["pictures"] = str(min(pictures, config.data.train_size or pictures))
    for key, name in TOLD.items():
        section, _, setting = key.partition(".")
        value: Any = settings.get(section, {}).get(setting)
        if value is not None and not (section == "lora" and trained_whole.is_whole(config)):
            told[name] = f"{value:g}" if isinstance(value, float) else str(value)
    return told


def _trainer(run: RunDir) -> str:
    imported = run.read_record().imported
    own = "Darkroom"
    if imported is None or imported.trainer == own:
        return own
    return f"{imported.trainer or 'another program'}, evaluated with {own}"


def _metadata(config: Config, family: Family, base: Base, *, whole: bool) -> dict[str, Any]:
    tags = ["text-to-image", "diffusers", "diffusers-training" if whole else "lora"]
    tags += [] if whole else ["template:sd-lora" if family.kind == "ddpm" else "template:diffusion-lora"]
    relation = "finetune" if whole else "adapter"
    return {
        "library_name": "diffusers",
        "pipeline_tag": "image-to-image" if family.needs_sources else "text-to-image",
        "tags": [*tags, "darkroom"],
        "base_model": base.hub_id,
        "base_model_relation": relation if base.hub_id else "",
        "instance_prompt": _trigger(config),
    }
