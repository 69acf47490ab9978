"""A LoRA in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from shared.config.schema import Config
from shared.run_folder.run_dir import RunDir
from tasks import data_order
from tasks.protocol import ParameterGroup
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora, training_adapter
from tasks.text_to_image.lora.description import describe
from tasks.text_to_image.lora.initial import Initial
from tasks.text_to_image.training.parameter_groups import parameter_groups


class TrainedLora:
    """The adapter attached to a model's parts, and the file it is written to."""

    memory_hint = (
        "set train.gradient_checkpointing = true, which saves most, then a smaller data.resolution or lora.rank, "
        "train.optimizer = 'adamw8bit', model.blocks_to_swap or model.quantization = '4bit'"
    )

    def __init__(self, config: Config, model: Model, num_pictures: int) -> None:
        """model: with its adapter attached. num_pictures: training pictures, each counted once."""
        self._config, self._model, self._num_pictures = config, model, num_pictures
        self.parts: dict[str, nn.Module] = lora.adapted(model, config.lora)
        self._by_key = lora.by_key(self.parts)

    @property
    def groups(self) -> list[ParameterGroup]:
        """The denoiser's, then the text encoders'."""
        denoiser, *encoders = self.parts.values()
        of_encoders = [value for encoder in encoders for value in lora.parameters(encoder)]
        up = [value for part in self.parts.values() for value in lora.up_parameters(part)]
        return parameter_groups(lora.parameters(denoiser), of_encoders, self._config.train, up)

    @property
    def details(self) -> dict[str, Any]:
        """Rank, alpha and base model."""
        settings = self._config.lora
        return {"rank": settings.rank, "lora_alpha": settings.lora_alpha, "base_model": self._config.model.path}

    def state(self) -> lora.State:
        """The adapter, on the CPU."""
        return lora.state(self.parts) if self._by_key is None else lora.copied(self._by_key)

    def restore(self, weights: lora.State) -> None:
        """Put back weights that `state` returned."""
        lora.restore(self.parts, weights)

    def write(self, folder: Path, weights: lora.State, step: int) -> None:
        """Write the LoRA file for `load_lora_weights`, with a description in its header."""
        model = self._model
        description = describe(self._config, model.family, model.objective, self._num_pictures, step)
        lora.write(folder, weights, lora.metadata(self.parts), description)


class LoraToTrain:
    """A LoRA that will be attached to a model."""

    def __init__(self, run: RunDir, config: Config, model: Model, *, begins: bool) -> None:
        """Adds `model.training_adapter` to the model, and reads `lora.init_from` where training begins.

        Raises:
            ConfigError, ModelError: one of the two is missing, has changed or does not fit.
        """
        self._config, self._model = config, model
        training_adapter.add(run, config.model, model)
        self._initial = Initial.of(run, config.lora, model) if begins else None

    def attach(self, num_pictures: int) -> TrainedLora:
        """Attach it, fresh or as the file of `lora.init_from` has it."""
        config, model = self._config, self._model
        torch.manual_seed(data_order.derive(config.train.seed, "adapter", 0))
        parts = lora.adapted(model, config.lora)
        lora.attach(parts, config.lora, model.family, model.clip_skip)
        if self._initial and (text := self._initial.apply(parts)):
            model.notices += (text,)
        return TrainedLora(config, model, num_pictures)
