"""Training what of a model is trained, by its objective: `tasks.protocol.Training` of this task.

Shapes: B micro-batch, C latent channels, H W latent height and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from shared.config.schema import Config
from tasks.protocol import HeldOutLosses, ParameterGroup, Progress
from tasks.text_to_image.data.batches import Batches
from tasks.text_to_image.families import source_latents
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.objectives.loss import mean_loss
from tasks.text_to_image.training import compute
from tasks.text_to_image.training.held_out_loss import Validation
from tasks.text_to_image.training.predictor import Predictor
from tasks.text_to_image.training.trained import State, Trained
from tasks.text_to_image.weights.block_swap import BlockSwap, blocks
from tasks.text_to_image.weights.denoiser_blocks import require
from tasks.text_to_image.weights.fp8 import cast_weights


class DiffusionTraining:
    """What is trained, in its model, and the pictures it is trained on."""

    def __init__(
        self,
        config: Config,
        accelerator: Accelerator,
        model: Model,
        trained: Trained,
        batches: Batches,
        validation: Validation | None = None,
    ) -> None:
        """trained: in the parts of this model."""
        self.config, self.accelerator = config, accelerator
        self.model, self.trained, self.batches, self.validation = model, trained, batches, validation
        model.objective.require(config.train)
        parts = trained.parts
        compute.configure(parts, config.train)
        if config.model.quantization == "fp8":  # the adapter is attached: PEFT would make it as narrow as its layer
            cast_weights(model.denoiser, model.dtype)
        if config.model.blocks_to_swap:
            require(config.model.blocks_to_swap, len(blocks(model.denoiser)), "model")
            BlockSwap(model.denoiser, config.model.blocks_to_swap, accelerator.device)
        for part in parts.values():
            part.to(accelerator.device)
        self.module = Predictor(model, parts)

    @property
    def memory_hint(self) -> str:
        """What makes a single picture fit."""
        return self.trained.memory_hint

    @property
    def groups(self) -> list[ParameterGroup]:
        """The denoiser's, then those of text encoders that are trained."""
        return self.trained.groups

    @property
    def epoch_length(self) -> int:
        """Pictures of one pass, repeats and pictures for regularisation included."""
        return self.batches.epoch_length

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know about the model, the objective and the pictures."""
        model = self.model
        return (*model.notices, *model.objective.notices(self.config.train), *self.batches.notices)

    @property
    def details(self) -> Mapping[str, Any]:
        """What is trained, and the base model."""
        return self.trained.details

    def loss(self, module: nn.Module, positions: range) -> Tensor:
        """The objective on the pictures at these positions of the stream. A scalar with a graph."""
        device, settings, batch = self.accelerator.device, self.config.train, self.batches.at(positions)
        objective = self.model.objective
        latents_BCHW = self.model.scale_latents(batch.latents)
        noise, timesteps = [], []
        for generator in batch.generators:
            noise.append(objective.sample_noise(latents_BCHW.shape[1:], generator, settings))
            timesteps.append(objective.sample_timestep(latents_BCHW.shape[1:], generator, settings))
        latents_BCHW, noise_BCHW = latents_BCHW.to(device), torch.stack(noise).to(device)
        timesteps_B, text = torch.stack(timesteps).to(device), batch.text
        if not isinstance(text, list):
            text |= source_latents.named([self.model.scale_latents(latents) for latents in batch.sources])
            text = {name: value.to(device) for name, value in text.items()}
        noisy_latents_BCHW = objective.add_noise(latents_BCHW, noise_BCHW, timesteps_B)
        with self.accelerator.autocast():
            model_pred_BCHW = module(noisy_latents_BCHW, timesteps_B, text, batch.time_ids.to(device))
        target_BCHW = objective.target(latents_BCHW, noise_BCHW, timesteps_B)
        weights_B = None if batch.loss_weights is None else batch.loss_weights.to(device)
        masks_BHW = None if batch.masks is None else batch.masks.to(device)
        counts_B = objective.weights(timesteps_B, settings)
        return mean_loss(model_pred_BCHW, target_BCHW, settings, counts_B, weights_B, masks_BHW)

    def validate(self, module: nn.Module, batch_size: int, progress: Progress) -> HeldOutLosses | None:
        """The held-out losses of the present weights; None without `train.validation_steps`."""
        if self.validation is None:
            return None
        return self.validation.measure(module, self.accelerator, batch_size, progress).published()

    def weights(self) -> State:
        """What is trained, on the CPU."""
        return self.trained.state()

    def restore(self, weights: State) -> None:
        """Put back weights that `weights` returned."""
        self.trained.restore(weights)

    def write(self, folder: Path, weights: State, step: int) -> None:
        """Write a snapshot's files."""
        self.trained.write(folder, weights, step)
