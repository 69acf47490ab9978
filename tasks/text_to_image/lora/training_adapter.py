"""The LoRA of `model.training_adapter`: added to the denoiser's weights while it trains, and nowhere else.

A model that was distilled to draw in few steps loses that when it is trained. With such an adapter the run's LoRA
learns on a model that is not distilled, and leaves the distillation of the plain model alone. Snapshots hold the run's
LoRA only, and the evaluator draws with the plain model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from shared.config.path_settings import TRAINING_ADAPTER
from shared.config.schema import ModelConfig
from shared.errors import ConfigError, ModelError
from shared.files.publication import sha256
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import fitted
from tasks.text_to_image.models import base_model, lora_file
from tasks.text_to_image.models.adaptable import ADAPTER_CURE, require_training_adapter


def add(run: RunDir, settings: ModelConfig, model: Model) -> None:
    """Add scale × B A to the denoiser's weights, in place; nothing if the setting is empty.

    The sums are computed in fp32 and rounded to the weights' precision.

    Raises:
        ConfigError: the file has changed since the run was made, or does not fit the model.
    """
    if settings.training_adapter is None:
        return
    place = Path(settings.training_adapter)
    if _digest(place) != run.read_record().folders.get(TRAINING_ADAPTER):
        raise ConfigError(
            f"{TRAINING_ADAPTER} {place} has changed since this run was created",
            f"restore {place}, or start another run with --new",
        )
    require_training_adapter(settings)  # a hub id that was not downloaded when the run was made
    try:
        adapter = fitted.fit(lora_file.look(place), fitted.base_of(model))
    except ModelError as error:
        raise ConfigError(f"{TRAINING_ADAPTER}: {error}", error.hint or ADAPTER_CURE) from None
    for module, scale in adapter.scales.items():
        layer = model.denoiser.get_submodule(module.removeprefix(f"{model.family.denoiser}."))
        _add(layer, adapter.weights[f"{module}.lora_A.weight"], adapter.weights[f"{module}.lora_B.weight"], scale)


def _add(layer: nn.Module, A: torch.Tensor, B: torch.Tensor, scale: float) -> None:
    """A: (rank, inputs…), B: (outputs, rank…); of a convolution with its kernel."""
    weight: Any = layer.weight
    update = scale * (B.float().flatten(1) @ A.float().flatten(1))
    with torch.no_grad():
        weight.copy_(weight.float() + update.view(weight.shape).to(weight.device))


def _digest(place: Path) -> str:
    """As the run's record has it."""
    return base_model.folder_fingerprint(place) if place.is_dir() else sha256(place)
