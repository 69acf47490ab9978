"""What of a base model a LoRA can adapt, and whether a file fits it, as far as headers tell. Never imports torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.config.path_settings import TRAINING_ADAPTER
from shared.config.schema import ModelConfig
from shared.errors import ConfigError
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.models import base_model, lora_file, memory
from tasks.text_to_image.models.lora_file import LoraFile

WEIGHT = ".weight"
ADAPTER_CURE = "give the LoRA that was made for training this model, or remove model.training_adapter"


@dataclass(frozen=True)
class Base:
    """The modules of a base model."""

    family: Family
    weights: Mapping[str, tuple[int, ...]]
    """Module, as our files name it, to the shape of its weight: (outputs, inputs[, height, width])."""


def of_files(path: str, revision: str | None = None, variant: str | None = None) -> Base | None:
    """From the headers of a diffusers folder; None: a single file, which names them otherwise, or not on this disk.

    Raises:
        ModelError: not a model, or a damaged one.
    """
    files, family = base_model.model_files(path, revision), base_model.family(path, revision)
    if files is None or family is None or not files.is_dir():
        return None
    weights: dict[str, tuple[int, ...]] = {}
    components = memory.read_components(files, family, variant)
    for part in (family.denoiser, *family.text_encoders):
        for name, tensor in components.get(part, {}).items():
            if name.endswith(WEIGHT) and len(tensor.shape) > 1:
                weights[f"{part}.{_with_text_model(part, name.removesuffix(WEIGHT))}"] = tensor.shape
    return Base(family, weights)


def own_names(file: LoraFile, modules: Iterable[str], family: Family) -> dict[str, str]:
    """The file's name of a module → ours. In kohya's format a module can have several names."""
    if file.form != "kohya" or file.translated:
        return {module: module for module in modules}
    return {name: module for module in modules for name in family.lora_names(module)}


def misfit(file: LoraFile, family: Family | None, base: Base | None) -> str:
    """Why a file is not for this base model; empty: nothing says so. family: the base model's, if known."""
    if file.family and family and not family.takes_loras_of(file.family):
        return f"it is a LoRA for {file.family.title}, the base model is {family.title}"
    if base is None:
        return ""
    names = own_names(file, base.weights, base.family)
    known = {name: names[name] for name in file.modules if name in names}
    if 2 * len(known) < len(file.modules):
        strange = next(name for name in file.modules if name not in known)
        missing = len(file.modules) - len(known)
        return f"{missing} of its {len(file.modules)} modules are not in the base model, such as {strange}"
    for name, module in known.items():
        inputs, expected = math.prod(file.modules[name].shape[1:]), math.prod(base.weights[module][1:])
        if inputs != expected:
            return f"{name} has {inputs} inputs there, in the base model {expected}"
    return ""


def require_training_adapter(settings: ModelConfig) -> None:
    """Whether `model.training_adapter` is a LoRA for the denoiser of the base model.

    Raises:
        ConfigError: it is not, or there is nothing of the kind.
    """
    if settings.training_adapter is None:
        return
    try:
        file = lora_file.look(Path(settings.training_adapter))
    except ConfigError as error:
        cure = error.hint
        if base_model.HUB_ID.fullmatch(settings.training_adapter):
            cure = (
                f"download it first: hf download {settings.training_adapter} --local-dir FOLDER; then give the folder"
            )
        raise ConfigError(f"{TRAINING_ADAPTER} {error}", cure) from None
    family = base_model.family(settings.path, settings.revision)
    unfit = misfit(file, family, of_files(settings.path, settings.revision, settings.variant))
    if family and not unfit and any(module.part != family.denoiser for module in file.modules.values()):
        unfit = "it adapts a text encoder, and only the denoiser's are added"
    if not unfit and any("magnitude" in module.keys for module in file.modules.values()):
        unfit = "it is a DoRA"
    if unfit:
        raise ConfigError(f"{TRAINING_ADAPTER} {file.path} cannot be added to {settings.path}: {unfit}", ADAPTER_CURE)


def _with_text_model(part: str, module: str) -> str:
    """Older files of text encoders have `text_model.` before most names; LoRA files always do."""
    is_bare = part.startswith("text_encoder") and not module.startswith(("text_model.", "text_projection"))
    return f"text_model.{module}" if is_bare else module
