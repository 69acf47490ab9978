"""Every weight of the denoiser in training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from torch import nn

from shared.config.schema import Config
from shared.errors import ModelError
from shared.run_folder.run_dir import RunDir
from tasks.protocol import ParameterGroup
from tasks.text_to_image.families.loading import DTYPES
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.weights import whole_denoiser
from tasks.text_to_image.weights.whole_denoiser import State


class TrainedDenoiser:
    """The denoiser, of which all weights are trained in fp32, and the folder that it is written to."""

    memory_hint = (
        "set train.gradient_checkpointing = true, then a smaller data.resolution, train.optimizer = 'adamw8bit' or "
        "'adafactor', train.ema_decay = false, or train a LoRA: train.what = 'lora'"
    )

    def __init__(self, config: Config, model: Model, num_pictures: int) -> None:
        """num_pictures: training pictures, each counted once."""
        self._config, self._denoiser, self._num_pictures = config, model.denoiser, num_pictures
        self._described = json.loads(cast("Any", model.denoiser).to_json_string())
        self.parts: dict[str, nn.Module] = {model.family.denoiser: model.denoiser}
        model.denoiser.requires_grad_(True)

    @property
    def groups(self) -> list[ParameterGroup]:
        """All parameters at one rate."""
        return [ParameterGroup(list(self._denoiser.parameters()), self._config.train.learning_rate)]

    @property
    def details(self) -> dict[str, Any]:
        """What is trained, its size, and the base model."""
        return {
            "what": self._config.train.what,
            "num_parameters": sum(value.numel() for value in self._denoiser.parameters()),
            "num_pictures": self._num_pictures,
            "base_model": self._config.model.path,
        }

    def state(self) -> State:
        """All weights, on the CPU."""
        return whole_denoiser.state(self._denoiser)

    def restore(self, weights: State) -> None:
        """Put back weights that `state` returned."""
        try:
            whole_denoiser.require_same(weights, self._denoiser, "the checkpoint")
        except ModelError as error:
            raise ModelError(str(error), "restore model.denoiser, or use --new") from None
        whole_denoiser.put(weights, self._denoiser)

    def write(self, folder: Path, weights: State, step: int) -> None:
        """Write weights and configuration, for the `from_pretrained` of the denoiser's class."""
        whole_denoiser.write(folder, weights, self._described, DTYPES[self._config.train.snapshot_dtype])


class DenoiserToTrain:
    """The denoiser of a model, loaded in fp32: nothing is attached."""

    def __init__(self, run: RunDir, config: Config, model: Model, *, begins: bool) -> None:
        """As for a LoRA; nothing but the model is needed."""
        self._config, self._model = config, model

    def attach(self, num_pictures: int) -> TrainedDenoiser:
        """Ask for gradients of all weights."""
        return TrainedDenoiser(self._config, self._model, num_pictures)
