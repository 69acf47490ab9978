"""What learns: the adapter in its model, the optimizer, and one update of both. It knows of no run folder.

Shapes: B micro-batch, C latent channels, H W latent height and width, L tokens, D embedding width.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from shared.config.schema import Config
from tasks import data_order
from tasks.devices import memory_of
from tasks.text_to_image.data.batches import Batches
from tasks.text_to_image.families.model import Conditioning, Model
from tasks.text_to_image.lora import lora
from tasks.text_to_image.objectives.loss import mean_loss
from tasks.text_to_image.training import compute
from tasks.text_to_image.training.held_out_loss import Losses, Progress, Validation
from trainer import optimizer as optimizers
from trainer.accumulation import Accumulation
from trainer.checkpoint import Checkpoint, copy_to_host
from trainer.ema import Average


@dataclass(frozen=True)
class Update:
    """What one optimizer update did. loss: mean over the pictures of all processes; seconds: wall time."""

    loss: float
    grad_norm: float
    learning_rate: float
    seconds: float
    loss_scale: float | None = None
    """What fp16's gradient scaler will multiply the next loss by; None without a scaler."""

    @property
    def is_finite(self) -> bool:
        """Whether it changed the adapter as it should; otherwise it was skipped."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)

    @property
    def is_scale_search(self) -> bool:
        """Skipped because the scaler's factor was too large: it begins at 65536 and is halved until gradients fit."""
        scale_has_room = self.loss_scale is not None and self.loss_scale >= 1
        return scale_has_room and math.isfinite(self.loss) and not self.is_finite


class Predictor(nn.Module):
    """What is learnt, as one module: accelerate wraps it, and every adapter in it is synchronised."""

    def __init__(self, model: Model, adapted: dict[str, nn.Module]) -> None:
        super().__init__()
        self.model = model
        self.adapted = nn.ModuleDict(adapted)

    def forward(
        self, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, text: Conditioning | list[str], time_ids_B6: Tensor
    ) -> Tensor:
        """The denoiser's output; captions are encoded here when the text encoders learn too.

        Sizes stay in fp32, as pixels: half precision would round them, and their embedding would be another size's.
        """
        conditioning = self.model.encode_captions(text) if isinstance(text, list) else text
        dtype = self.model.dtype
        cast_conditioning = {name: value.to(dtype) for name, value in conditioning.items()}
        cast_conditioning["time_ids"] = time_ids_B6.float()
        return self.model.predict(noisy_latents_BCHW.to(dtype), timesteps_B, cast_conditioning)


class Learner:
    """One process's part of the learning; all processes together see the same stream of pictures as one would."""

    def __init__(
        self,
        config: Config,
        accelerator: Accelerator,
        model: Model,
        batches: Batches,
        validation: Validation | None = None,
    ) -> None:
        self.config, self.accelerator = config, accelerator
        self.model, self.batches, self.validation = model, batches, validation
        model.objective.require(config.train)
        self.adapted = lora.adapted(model, config.lora)
        self.parameters = [parameter for part in self.adapted.values() for parameter in lora.parameters(part)]
        compute.configure(self.adapted, config.train)
        optimizer = self._optimizer()
        self.predictor, self.optimizer = accelerator.prepare(Predictor(model, self.adapted).train(), optimizer)
        self._peak_rates = optimizers.peak_rates(optimizer)
        self._lr_factor = optimizers.schedule(config.train)
        self._accumulation = Accumulation(accelerator, self.predictor, self.parameters, config.train.train_batch_size)
        self._average = Average(self.parameters, config.train.ema_decay) if config.train.ema_decay else None
        self.step = 0

    def _optimizer(self) -> torch.optim.Optimizer:
        for part in self.adapted.values():
            part.to(self.accelerator.device)
        denoiser = lora.parameters(self.model.denoiser)
        up = [parameter for part in self.adapted.values() for parameter in lora.up_parameters(part)]
        return optimizers.build(denoiser, self.parameters[len(denoiser) :], self.config.train, up)

    @property
    def pictures_per_step(self) -> int:
        """Pictures one optimizer update sees, over all processes."""
        settings = self.config.train
        return settings.train_batch_size * settings.gradient_accumulation_steps * self.accelerator.num_processes

    @property
    def steps_per_epoch(self) -> float:
        """Updates in one pass over the training pictures."""
        return self.batches.epoch_length / self.pictures_per_step

    @property
    def note(self) -> str:
        """What a person should know of how updates are made; empty while there is nothing."""
        return self._accumulation.note

    def epoch(self, step: int) -> float:
        """Passes over the training pictures after this step."""
        return step * self.pictures_per_step / self.batches.epoch_length

    def update(self) -> Update:
        """One update over `gradient_accumulation_steps` micro-batches; skipped if gradients are not finite."""
        settings, accelerator, step = self.config.train, self.accelerator, self.step + 1
        started = time.perf_counter()
        learning_rate = optimizers.set_rates(self.optimizer, self._peak_rates, self._lr_factor(self.step))
        batches = [self._positions(step, micro_batch) for micro_batch in range(settings.gradient_accumulation_steps)]
        dropout_seed = data_order.derive(settings.seed, f"dropout:{accelerator.process_index}", step)
        loss = float(self._accumulation.gather(batches, self._loss, lambda: torch.manual_seed(dropout_seed)))
        limit = settings.max_grad_norm or math.inf  # an infinite one only measures
        grad_norm = float(cast("Tensor", accelerator.clip_grad_norm_(self.parameters, limit)))
        if accelerator.scaler or math.isfinite(grad_norm):  # a scaler skips by itself, and learns from it
            self.optimizer.step()
            if self._average and not self.optimizer.step_was_skipped:
                self._average.update()
        self.optimizer.zero_grad()
        self.step = step
        loss_scale = accelerator.scaler.get_scale() if accelerator.scaler else None
        return Update(loss, grad_norm, learning_rate, time.perf_counter() - started, loss_scale)

    def _positions(self, step: int, micro_batch: int) -> range:
        return data_order.positions(
            step,
            micro_batch,
            self.accelerator.process_index,
            batch_size=self.config.train.train_batch_size,
            micro_batches=self.config.train.gradient_accumulation_steps,
            world_size=self.accelerator.num_processes,
        )

    def _loss(self, positions: range) -> Tensor:
        """The objective on the pictures at these positions of the stream. A scalar with a graph."""
        device, settings, batch = self.accelerator.device, self.config.train, self.batches.at(positions)
        objective = self.model.objective
        latents_BCHW = self.model.scale_latents(batch.latents)
        noise, timesteps = [], []
        for generator in batch.generators:
            noise.append(objective.sample_noise(latents_BCHW.shape[1:], generator, settings))
            timesteps.append(objective.sample_timestep(generator, settings))
        latents_BCHW, noise_BCHW = latents_BCHW.to(device), torch.stack(noise).to(device)
        timesteps_B, text = torch.stack(timesteps).to(device), batch.text
        if not isinstance(text, list):
            text = {name: value.to(device) for name, value in text.items()}
        noisy_latents_BCHW = objective.add_noise(latents_BCHW, noise_BCHW, timesteps_B)
        with self.accelerator.autocast():
            model_pred_BCHW = self.predictor(noisy_latents_BCHW, timesteps_B, text, batch.time_ids.to(device))
        target_BCHW = objective.target(latents_BCHW, noise_BCHW, timesteps_B)
        weights_B = None if batch.loss_weights is None else batch.loss_weights.to(device)
        masks_BHW = None if batch.masks is None else batch.masks.to(device)
        counts_B = objective.weights(timesteps_B, settings)
        return mean_loss(model_pred_BCHW, target_BCHW, settings, counts_B, weights_B, masks_BHW)

    def validate(self, progress: Progress) -> Losses | None:
        """The held-out losses of the adapter as it is, the same on every process; None where none are asked for."""
        if self.validation is None:
            return None
        with self._to_be_used():
            return self.validation.measure(
                self.predictor, self.accelerator, self._accumulation.micro_batch_size, progress
            )

    def weights(self) -> lora.State:
        """The adapter to be used, on the CPU."""
        with self._to_be_used():
            return lora.state(self.adapted)

    @contextmanager
    def _to_be_used(self) -> Generator[None]:
        """The parameters hold what is published: an average, where there is one, of the weights that learn."""
        with optimizers.averaged(self.optimizer.optimizer), self._average.shown() if self._average else nullcontext():
            yield

    def is_finite(self) -> bool:
        """False if any weight that learns is NaN or infinite."""
        return lora.is_finite(lora.state(self.adapted))

    def checkpoint(self) -> Checkpoint:
        """Everything needed to go on from here, on the CPU."""
        scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler else {}
        optimizer = copy_to_host(self.optimizer.state_dict())
        fits, memory = self._accumulation.micro_batch_size, memory_of(self.accelerator.device)
        learning = lora.state(self.adapted)
        if not self._average:
            return Checkpoint(self.step, learning, optimizer, scaler, fits, memory)
        averaged, num_updates = self.weights(), self._average.num_updates
        return Checkpoint(self.step, learning, optimizer, scaler, fits, memory, averaged, num_updates)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint: adapter, its average, optimizer moments, gradient scaler, step, what fits in memory.

        An average that the checkpoint lacks begins at its adapter.
        """
        if self._average:
            lora.restore(self.adapted, checkpoint.adapter if checkpoint.average is None else checkpoint.average)
            self._average.restart(checkpoint.average_updates)
        lora.restore(self.adapted, checkpoint.adapter)
        optimizers.restore(self.optimizer.optimizer, checkpoint.optimizer)
        if self.accelerator.scaler and checkpoint.scaler:
            self.accelerator.scaler.load_state_dict(checkpoint.scaler)
        self._accumulation.resume(checkpoint.micro_batch_size, checkpoint.memory)
        self.step = checkpoint.step
