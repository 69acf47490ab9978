"""One update of the trained weights and their optimizer, for any task. Nothing here reads or writes the run folder."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from accelerate import Accelerator
from diffusers.training_utils import free_memory
from torch import Tensor

from shared.config.schema import Config
from tasks import data_order
from tasks.devices import memory_of
from tasks.protocol import HeldOutLosses, Progress, Training
from trainer import optimizer as optimizers
from trainer.accumulation import Accumulation
from trainer.checkpoint import Checkpoint, are_finite, copy_to_host
from trainer.ema import Average


@dataclass(frozen=True)
class Update:
    """The result of one optimizer update. loss: mean over the examples of all processes; seconds: wall time."""

    loss: float
    grad_norm: float
    learning_rate: float
    seconds: float
    loss_scale: float | None = None
    """The factor by which fp16's gradient scaler will multiply the next loss; None without a scaler."""

    @property
    def is_finite(self) -> bool:
        """Whether the update was applied; one that is not finite is skipped."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)

    @property
    def is_scale_search(self) -> bool:
        """Skipped because the scaler's factor was too large: it starts at 65536 and is halved until gradients fit."""
        can_be_halved = self.loss_scale is not None and self.loss_scale >= 1
        return can_be_halved and math.isfinite(self.loss) and not self.is_finite


class Learner:
    """One process's part of training. All processes together see the same stream of examples as a single one would."""

    def __init__(
        self,
        config: Config,
        accelerator: Accelerator,
        training: Training,
    ) -> None:
        self.config, self.accelerator = config, accelerator
        self.training = training
        self.parameters = [value for value in training.module.parameters() if value.requires_grad]
        optimizer = optimizers.build(training.groups, config.train)
        self.module, self.optimizer = accelerator.prepare(training.module.train(), optimizer)
        self._peak_rates = optimizers.peak_rates(optimizer)
        self._lr_factor = optimizers.schedule(config.train)
        self._accumulation = Accumulation(
            accelerator, self.module, self.parameters, config.train.train_batch_size, training.memory_hint
        )
        self._average = Average(self.parameters, config.train.ema_decay) if config.train.ema_decay else None
        self.step = 0

    @property
    def examples_per_step(self) -> int:
        """Examples per optimizer update, over all processes."""
        settings = self.config.train
        return settings.train_batch_size * settings.gradient_accumulation_steps * self.accelerator.num_processes

    @property
    def steps_per_epoch(self) -> float:
        """Updates in one pass over the training data."""
        return self.training.epoch_length / self.examples_per_step

    @property
    def note(self) -> str:
        """What the user should know about how updates are computed; empty if there is nothing."""
        return self._accumulation.note

    def epoch(self, step: int) -> float:
        """Passes over the training data after this step."""
        return step * self.examples_per_step / self.training.epoch_length

    def update(self) -> Update:
        """One update over `gradient_accumulation_steps` micro-batches; skipped if gradients are not finite."""
        settings, accelerator, step = self.config.train, self.accelerator, self.step + 1
        started = time.perf_counter()
        learning_rate = optimizers.set_rates(self.optimizer, self._peak_rates, self._lr_factor(self.step))
        batches = [self._positions(step, micro_batch) for micro_batch in range(settings.gradient_accumulation_steps)]
        dropout_seed = data_order.derive(settings.seed, f"dropout:{accelerator.process_index}", step)
        mean_loss = self._accumulation.accumulate(batches, self._loss, lambda: torch.manual_seed(dropout_seed))
        limit = settings.max_grad_norm or math.inf  # an infinite limit only measures the norm
        norm = cast("Tensor", accelerator.clip_grad_norm_(self.parameters, limit))
        loss, grad_norm = torch.stack((mean_loss, norm)).tolist()  # one read: a GPU is waited for once a step
        if accelerator.scaler or math.isfinite(grad_norm):  # a scaler skips the step itself and lowers its factor
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
        return self.training.loss(self.module, positions)

    def validate(self, progress: Progress) -> HeldOutLosses | None:
        """The held-out losses of the published weights; None if the task measures nothing."""
        with self._published_weights():
            return self.training.validate(self.module, self._accumulation.micro_batch_size, progress)

    def weights(self) -> dict[str, Tensor]:
        """The published weights, on the CPU."""
        with self._published_weights():
            return self.training.weights()

    @contextmanager
    def _published_weights(self) -> Generator[None]:
        """The parameters hold what is published: the average of the trained weights, if one is kept."""
        with optimizers.averaged(self.optimizer.optimizer), self._average.shown() if self._average else nullcontext():
            yield

    def leave_device(self) -> None:
        """Move everything that computes to the host's memory. Only the optimizer's state stays."""
        self.accelerator.unwrap_model(self.module).to("cpu")
        free_memory()

    def return_to_device(self) -> None:
        """Undo `leave_device`: the next update is as if nothing had happened."""
        self.accelerator.unwrap_model(self.module).to(self.accelerator.device)

    def is_finite(self) -> bool:
        """False if any trained weight is NaN or infinite."""
        return are_finite(self.parameters)

    def checkpoint(self) -> Checkpoint:
        """Everything needed to resume after this step, on the CPU."""
        scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler else {}
        optimizer = copy_to_host(self.optimizer.state_dict())
        micro_batch_size, memory = self._accumulation.micro_batch_size, memory_of(self.accelerator.device)
        threads = torch.get_num_threads() if self.accelerator.device.type == "cpu" else None
        average = self.weights() if self._average else None
        updates = self._average.num_updates if self._average else 0
        return Checkpoint(
            self.step,
            self.training.weights(),
            optimizer,
            scaler,
            micro_batch_size,
            memory,
            average,
            updates,
            threads,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint: weights, their average, optimizer moments, gradient scaler, step, micro-batch size.

        If the checkpoint has no average, the average starts at its weights.
        """
        if self._average:
            self.training.restore(checkpoint.weights if checkpoint.average is None else checkpoint.average)
            self._average.restart(checkpoint.average_updates)
        self.training.restore(checkpoint.weights)
        optimizers.restore(self.optimizer.optimizer, checkpoint.optimizer)
        if self.accelerator.scaler and checkpoint.scaler:
            self.accelerator.scaler.load_state_dict(checkpoint.scaler)
        self._accumulation.resume(checkpoint.micro_batch_size, checkpoint.memory)
        self.step = checkpoint.step
