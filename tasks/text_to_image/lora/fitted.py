"""A LoRA file of any program on a base model: its updates under our names, and PEFT's configuration of them.

Each file has its own rank, alpha and modules. Written by `lora.write`, it is loaded like a snapshot of our own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from peft import LoraConfig
from torch import nn

from shared.errors import ModelError
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora, updates
from tasks.text_to_image.lora.updates import Update
from tasks.text_to_image.models.adaptable import Base, own_names
from tasks.text_to_image.models.lora_file import LoraFile

Common = TypeVar("Common", int, float)


def base_of(model: Model) -> Base:
    """What can be adapted of a model that holds no adapter."""
    weights = {
        lora.prefix(name, part) + module: tuple(layer.weight.shape)
        for name, part in model.parts.items()
        for module, layer in part.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }
    return Base(model.family, weights)


@dataclass(frozen=True)
class Fitted:
    """A file in the form of our own: see `lora.write`."""

    weights: lora.State
    """In the file's precision."""
    metadata: dict[str, Any]
    """PEFT's configuration of each part, keyed `unet.r` and so on."""
    scales: dict[str, float]
    """Of each module's update."""


def fit(file: LoraFile, base: Base) -> Fitted:
    """The file's updates for this base model.

    Raises:
        ModelError: the file is for another base model, cannot be read, or is a DoRA in some modules only.
    """
    if file.family and not base.family.takes_loras_of(file.family):
        raise ModelError(f"{file.path} is a LoRA for {file.family.title}, the base model is {base.family.title}")
    names = own_names(file, base.weights, base.family)
    fitted: dict[str, Update] = {}
    unknown: list[str] = []
    for name, update in updates.read(file, dtype=None).items():
        if name in names:
            module = names[name]
            fitted[module] = updates.shaped(file.path, name, update, base.weights[module])
        elif update.B.any():  # without any update it does not matter that a module is missing
            unknown.append(name)
    if unknown or not fitted:
        sample = unknown[0] if unknown else "nothing"
        raise ModelError(
            f"{file.path} is for another base model: {len(unknown)} of its {len(file.modules)} modules are not in "
            f"this one, such as {sample}"
        )
    return Fitted(
        _weights(fitted), _metadata(file, fitted), {module: update.scale for module, update in fitted.items()}
    )


def _weights(fitted: Mapping[str, Update]) -> lora.State:
    weights: lora.State = {}
    for module, update in fitted.items():
        halves = {"lora_A.weight": update.A, "lora_B.weight": update.B}
        if update.magnitude is not None:
            ending = ".weight" if lora.is_text_encoder(module) else ""
            halves[lora.MAGNITUDE + ending] = update.magnitude
        weights |= {f"{module}.{half}": value.contiguous() for half, value in halves.items()}
    return weights


def _metadata(file: LoraFile, fitted: Mapping[str, Update]) -> dict[str, Any]:
    """Ranks and alphas that are not the usual ones of their part stand by module, as PEFT's patterns."""
    metadata: dict[str, Any] = {}
    for part in sorted({_part(module) for module in fitted}):
        own = {module: update for module, update in fitted.items() if _part(module) == part}
        is_dora = {update.magnitude is not None for update in own.values()}
        if len(is_dora) > 1:
            raise ModelError(f"{file.path} is a DoRA in some modules of {part} and not in others")
        ranks = {module: len(update.A) for module, update in own.items()}
        alphas = {module: update.scale * len(update.A) for module, update in own.items()}
        rank, alpha = _usual(ranks.values()), _usual(alphas.values())
        settings = LoraConfig(
            r=rank,
            lora_alpha=alpha,  # pyright: ignore[reportArgumentType]  # typed as int, but PEFT only divides by it
            target_modules=sorted(map(_name, own)),
            rank_pattern={_pattern(module): value for module, value in ranks.items() if value != rank},
            alpha_pattern={_pattern(module): value for module, value in alphas.items() if value != alpha},
            use_dora=True in is_dora,
        ).to_dict()
        metadata |= {
            f"{part}.{key}": sorted(value) if isinstance(value, set) else value for key, value in settings.items()
        }
    return metadata


def _usual(values: Iterable[Common]) -> Common:
    return Counter(values).most_common(1)[0][0]


def _pattern(module: str) -> str:
    """PEFT compares it with a module's name and, in a hot-swap, with its parameters' names."""
    return rf"{re.escape(_name(module))}(\.lora_.+)?"


def _name(module: str) -> str:
    """Within its part; transformers 5 has no `text_model` in the first text encoder."""
    return module.partition(".")[2].removeprefix("text_model.")


def _part(module: str) -> str:
    return module.partition(".")[0]
