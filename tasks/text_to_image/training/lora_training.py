"""Training a LoRA on a base model: `tasks.protocol.Training` of this task.

Shapes: B micro-batch, C latent channels, H W latent height and width.
"""

from __future__ import annotations

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
from tasks.text_to_image.lora import lora
from tasks.text_to_image.lora.description import describe
from tasks.text_to_image.objectives.loss import mean_loss
from tasks.text_to_image.training import compute
from tasks.text_to_image.training.held_out_loss import Validation
from tasks.text_to_image.training.parameter_groups import parameter_groups
from tasks.text_to_image.training.predictor import Predictor
from tasks.text_to_image.weights.block_swap import BlockSwap, blocks
from tasks.text_to_image.weights.denoiser_blocks import require
from tasks.text_to_image.weights.fp8 import cast_weights


class LoraTraining:
    """The adapter in its model, the pictures it is trained on, and the file it is written to."""

    memory_hint = (
        "set train.gradient_checkpointing = true, which saves most, then a smaller data.resolution or lora.rank, "
        "train.optimizer = 'adamw8bit', model.blocks_to_swap or model.quantization = '4bit'"
    )

    def __init__(
        self,
        config: Config,
        accelerator: Accelerator,
        model: Model,
        batches: Batches,
        validation: Validation | None = None,
    ) -> None:
        """model: with its adapter attached."""
        self.config, self.accelerator = config, accelerator
        self.model, self.batches, self.validation = model, batches, validation
        model.objective.require(config.train)
        self.adapted = lora.adapted(model, config.lora)
        compute.configure(self.adapted, config.train)
        if config.model.quantization == "fp8":  # the adapter is attached: PEFT would make it as narrow as its layer
            cast_weights(model.denoiser, model.dtype)
        if config.model.blocks_to_swap:
            require(config.model.blocks_to_swap, len(blocks(model.denoiser)), "model")
            BlockSwap(model.denoiser, config.model.blocks_to_swap, accelerator.device)
        for part in self.adapted.values():
            part.to(accelerator.device)
        self.module = Predictor(model, self.adapted)

    @property
    def groups(self) -> list[ParameterGroup]:
        """The denoiser's, then the text encoders'."""
        denoiser, *encoders = self.adapted.values()
        of_encoders = [value for encoder in encoders for value in lora.parameters(encoder)]
        up = [value for part in self.adapted.values() for value in lora.up_parameters(part)]
        return parameter_groups(lora.parameters(denoiser), of_encoders, self.config.train, up)

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
    def details(self) -> dict[str, Any]:
        """Rank, alpha and base model."""
        settings = self.config.lora
        return {"rank": settings.rank, "lora_alpha": settings.lora_alpha, "base_model": self.config.model.path}

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
        """The held-out losses of the present adapter; None without `train.validation_steps`."""
        if self.validation is None:
            return None
        return self.validation.measure(module, self.accelerator, batch_size, progress).published()

    def weights(self) -> lora.State:
        """The adapter, on the CPU."""
        return lora.state(self.adapted)

    def restore(self, weights: lora.State) -> None:
        """Put back weights that `weights` returned."""
        lora.restore(self.adapted, weights)

    def write(self, folder: Path, weights: lora.State, step: int) -> None:
        """Write the LoRA file for `load_lora_weights`, with a description in its header."""
        model, num_pictures = self.model, self.batches.num_pictures
        description = describe(self.config, model.family, model.objective, num_pictures, step)
        lora.write(folder, weights, lora.metadata(self.adapted), description)
