"""What a LoRA file of any program adds to the modules of a base model: A, B and scale of each, under the file's names.

Programs differ in names and in how they state the scale, and some store a 1 × 1 convolution as a linear layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from shared.errors import ModelError
from tasks.text_to_image.lora import lora
from tasks.text_to_image.models.lora_file import UNREADABLE, LoraFile, Module


@dataclass(frozen=True)
class Update:
    """The update of one module, fp32 unless it was read otherwise."""

    A: torch.Tensor
    B: torch.Tensor
    magnitude: torch.Tensor | None
    scale: float


def read(file: LoraFile, dtype: torch.dtype | None = torch.float32) -> dict[str, Update]:
    """The updates by the file's names of modules. dtype: None keeps the file's,
    but for numbers of 8 bits, which become fp16.

    Raises:
        ModelError: it cannot be read, has values that are not finite, or does not state its alpha.
    """
    tensors = _tensors(file)
    return {name: _update(file, name, module, tensors, dtype) for name, module in file.modules.items()}


def shaped(path: object, name: str, update: Update, weight: Sequence[int]) -> Update:
    """The update with A and B as a module with this weight takes them. weight: (outputs, inputs[, height, width]).

    Raises:
        ModelError: the module is of another size.
    """
    rank = len(update.A)
    if update.B.shape[1] != rank:
        raise ModelError(
            f"{path} is damaged: {name} has rank {rank} in its lora_down and {update.B.shape[1]} in its lora_up",
            "download or copy it again",
        )
    shapes = ((rank, *weight[1:]), (weight[0], rank, *(1 for _ in weight[2:])))
    try:
        down, up = (value.reshape(shape) for value, shape in zip((update.A, update.B), shapes, strict=True))
    except RuntimeError:
        raise ModelError(
            f"{path} is for another base model: {name} has the shapes {tuple(update.A.shape)} and "
            f"{tuple(update.B.shape)}, must have {shapes[0]} and {shapes[1]}",
            "give a LoRA that was trained on this base model",
        ) from None
    return Update(down, up, update.magnitude, update.scale)


def _tensors(file: LoraFile) -> dict[str, dict[str, torch.Tensor]]:
    try:
        return {part: safetensors.torch.load(place.read_bytes()) for part, place in file.places.items()}
    except (*UNREADABLE, SafetensorError) as error:
        raise ModelError(f"{file.path} cannot be read: {error}", "download or copy it again") from None
    except KeyError as error:  # so torch's reader of safetensors says it
        raise ModelError(f"{file.path} has numbers of an unknown precision: {error}", "convert the file") from None


def _computable(value: torch.Tensor) -> torch.Tensor:
    """Numbers of 8 bits in fp16, which has each of them exactly: torch computes nothing with them."""
    return value.half() if value.is_floating_point() and value.element_size() == 1 else value


def _update(
    file: LoraFile,
    name: str,
    module: Module,
    tensors: Mapping[str, Mapping[str, torch.Tensor]],
    dtype: torch.dtype | None,
) -> Update:
    values = {what: _computable(tensors[part][key]).to(dtype) for what, (part, key) in module.keys.items()}
    if not lora.is_finite(values):
        raise ModelError(f"{file.path} has values that are not finite, in {name}", "give another file")
    first, last, whole = module.share
    if whole > 1:  # several modules share A, and each file that is written of them needs its own
        values["A"] = values["A"].clone()
        for half in {"B", "magnitude"} & values.keys():
            outputs = len(values[half]) // whole
            values[half] = values[half][first * outputs : last * outputs].clone()
    return Update(values["A"], values["B"], values.get("magnitude"), _scale(file, name, module, values))


def _scale(file: LoraFile, name: str, module: Module, values: dict[str, torch.Tensor]) -> float:
    """kohya's alpha / rank, else the value in PEFT's configuration; 1 for a file without either."""
    settings: dict[str, Any] = file.settings
    if "alpha" in values:
        return float(values["alpha"]) / module.rank
    if f"{module.part}.r" not in settings:
        return 1.0
    try:
        return lora.scale(name, settings)
    except (KeyError, ValueError, TypeError):
        raise ModelError(f"{file.path} does not state the alpha of {name}", "give another file") from None
