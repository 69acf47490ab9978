"""The training loop.

Shapes: B micro-batch, C latent channels, H W latent height and width, L tokens, D embedding width.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from shared import hardware, tables
from shared.cadence import AnyCadence, is_due
from shared.config import Config
from shared.diffusion import lora
from shared.diffusion.model import Conditioning, Model
from shared.records import utc_now
from shared.rundir import RunDir
from shared.status import Status
from trainer import compute, objective, order
from trainer import optimizer as optimizers
from trainer.accumulation import Accumulation
from trainer.batches import Batches
from trainer.checkpoint import Checkpoint, copy_to_host
from trainer.publisher import Publisher
from trainer.stopping import StopSignal

log = logging.getLogger(__name__)


@dataclass
class Update:
    """What one optimizer update did. Mutable: filled while the step runs."""

    loss: float = 0.0
    grad_norm: float = 0.0
    learning_rate: float = 0.0
    seconds: float = 0.0


class Predictor(nn.Module):
    """What is learnt, as one module: accelerate wraps it, and every adapter in it is synchronised."""

    def __init__(self, model: Model, adapted: dict[str, nn.Module]) -> None:
        super().__init__()
        self.model = model
        self.adapted = nn.ModuleDict(adapted)

    def forward(
        self, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, text: Conditioning | list[str], time_ids_B6: Tensor
    ) -> Tensor:
        """The denoiser's output; captions are encoded here when the text encoders learn too."""
        conditioning = self.model.encode_captions(text) if isinstance(text, list) else text
        dtype = self.model.dtype
        cast_conditioning = {name: value.to(dtype) for name, value in {**conditioning, "time_ids": time_ids_B6}.items()}
        return self.model.predict(noisy_latents_BCHW.to(dtype), timesteps_B, cast_conditioning)


class Trainer:
    """Holds the adapter and its optimizer; `train` runs until the last step or the first reason to stop."""

    def __init__(self, run: RunDir, config: Config, accelerator: Accelerator, model: Model, batches: Batches) -> None:
        self.run, self.config, self.accelerator = run, config, accelerator
        self.model, self.batches = model, batches
        self.scheduler = objective.training_scheduler(model.noise_scheduler(), config.train)
        self.adapted = lora.adapted(model, config.lora)
        self.parameters = [parameter for part in self.adapted.values() for parameter in lora.parameters(part)]
        compute.configure(self.adapted, config.train)
        optimizer = self._optimizer()
        self.predictor, self.optimizer = accelerator.prepare(Predictor(model, self.adapted).train(), optimizer)
        self._peak_rates = optimizers.peak_rates(optimizer, config.train)
        self._lr_factor = optimizers.schedule(config.train)
        self._accumulation = Accumulation(accelerator, self.predictor, self.parameters, config.train.train_batch_size)
        self.step = 0
        self._bad_steps = 0
        self._started = time.monotonic()
        self._saved_at: dict[str, float] = {}

    def _optimizer(self) -> torch.optim.Optimizer:
        for part in self.adapted.values():
            part.to(self.accelerator.device)
        denoiser = lora.parameters(self.model.denoiser)
        return optimizers.build(denoiser, self.parameters[len(denoiser) :], self.config.train)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint: adapter, optimizer moments, gradient scaler, step, what fits into memory."""
        lora.restore(self.adapted, checkpoint.adapter)
        optimizers.restore(self.optimizer.optimizer, checkpoint.optimizer)
        if self.accelerator.scaler and checkpoint.scaler:
            self.accelerator.scaler.load_state_dict(checkpoint.scaler)
        if checkpoint.micro_batch_size:
            self._accumulation.limit(checkpoint.micro_batch_size)
        self.step = checkpoint.step

    def train(self, stop: StopSignal, status: Status | None, publisher: Publisher | None) -> str | None:
        """Update until `max_train_steps`; returns why it ended early, None if it did not.

        status and publisher belong to the main process; the others pass None.
        """
        settings = self.config.train
        table = tables.Appender(self.run.train_csv, tables.TRAIN_COLUMNS) if publisher else None
        reason = self._agree(stop.reason(self.step))
        while self.step < settings.max_train_steps and reason is None:
            update = self._update(self.step + 1)
            self.step += 1
            self._guard(update, stop)
            reason = self._agree(stop.reason(self.step))
            if not (publisher and table and status):
                continue
            table.append(self._row(update))
            status.update(step=self.step, total=settings.max_train_steps, message=self._message(update))
            last = reason is not None or self.step == settings.max_train_steps
            if last or self._is_due("snapshot", settings.snapshot_steps):
                publisher.snapshot(
                    self.step, lora.state(self.adapted), lora.metadata(self.adapted), self._details(update)
                )
            if last or self._is_due("checkpoint", settings.checkpointing_steps):
                publisher.checkpoint(self._checkpoint())
            publisher.raise_failures()
        return reason

    def _is_due(self, what: str, cadence: AnyCadence) -> bool:
        """Whether this step is one to save at; remembers when that last was so."""
        elapsed = time.monotonic() - self._saved_at.setdefault(what, self._started)
        due = is_due(cadence, self.step, (self._epoch(self.step - 1), self._epoch(self.step)), elapsed)
        if due:
            self._saved_at[what] = time.monotonic()
        return due

    def _update(self, step: int) -> Update:
        """One optimizer update over `gradient_accumulation_steps` micro-batches."""
        settings, accelerator = self.config.train, self.accelerator
        started = time.perf_counter()
        update = Update()
        update.learning_rate = optimizers.set_rates(self.optimizer, self._peak_rates, self._lr_factor(step - 1))
        batches = [self._positions(step, micro_batch) for micro_batch in range(settings.gradient_accumulation_steps)]
        dropout_seed = order.derive(settings.seed, f"dropout:{accelerator.process_index}", step)
        update.loss = float(self._accumulation.gather(batches, self._loss, lambda: torch.manual_seed(dropout_seed)))
        norm = accelerator.clip_grad_norm_(self.parameters, settings.max_grad_norm)
        update.grad_norm = float(cast("torch.Tensor", norm))
        if accelerator.scaler or math.isfinite(update.grad_norm):  # a scaler skips by itself, and learns from it
            self.optimizer.step()
        self.optimizer.zero_grad()
        update.seconds = time.perf_counter() - started
        return update

    def _message(self, update: Update) -> str:
        return "; ".join(filter(None, (f"loss {update.loss:.4f}", self._accumulation.note)))

    def _positions(self, step: int, micro_batch: int) -> range:
        return order.positions(
            step,
            micro_batch,
            self.accelerator.process_index,
            batch_size=self.config.train.train_batch_size,
            micro_batches=self.config.train.gradient_accumulation_steps,
            world_size=self.accelerator.num_processes,
        )

    def _loss(self, positions: range) -> torch.Tensor:
        """The objective on the pictures at these positions of the stream. A scalar with a graph."""
        device, settings, batch = self.accelerator.device, self.config.train, self.batches.at(positions)
        latents_BCHW = self.model.scale_latents(batch.latents)
        noise, timesteps = [], []
        for generator in batch.generators:
            noise.append(objective.sample_noise(latents_BCHW.shape[1:], generator, settings))
            timesteps.append(
                objective.sample_timestep(generator, settings, self.scheduler.config["num_train_timesteps"])
            )
        latents_BCHW, noise_BCHW = latents_BCHW.to(device), torch.stack(noise).to(device)
        timesteps_B, text = torch.stack(timesteps).to(device), batch.text
        if not isinstance(text, list):
            text = {name: value.to(device) for name, value in text.items()}
        noisy_latents_BCHW = self.scheduler.add_noise(latents_BCHW, noise_BCHW, cast("torch.IntTensor", timesteps_B))
        with self.accelerator.autocast():
            model_pred_BCHW = self.predictor(noisy_latents_BCHW, timesteps_B, text, batch.time_ids.to(device))
        target_BCHW = objective.target(self.scheduler, latents_BCHW, noise_BCHW, timesteps_B)
        return objective.loss(model_pred_BCHW, target_BCHW, timesteps_B, self.scheduler, settings)

    def _agree(self, reason: str | None) -> str | None:
        """All processes leave together: one process's reason becomes everybody's."""
        if self.accelerator.num_processes == 1:
            return reason
        asked = torch.tensor(float(reason is not None), device=self.accelerator.device)
        agreed = bool(cast("torch.Tensor", self.accelerator.reduce(asked, "sum")) > 0)
        return (reason or "asked of another process") if agreed else None

    def _guard(self, update: Update, stop: StopSignal) -> None:
        """Count updates without finite gradients (they were skipped) and stop after too many in a row."""
        if math.isfinite(update.loss) and math.isfinite(update.grad_norm):
            self._bad_steps = 0
            return
        self._bad_steps += 1
        log.warning("step %d skipped: loss %s, gradient norm %s", self.step, update.loss, update.grad_norm)
        if self._bad_steps >= self.config.stop.max_bad_steps:
            stop.ask(f"{self._bad_steps} steps in a row without finite gradients; lower train.learning_rate")

    def _epoch(self, step: int) -> float:
        """Passes over the training pictures after this step."""
        settings = self.config.train
        per_step = settings.train_batch_size * settings.gradient_accumulation_steps * self.accelerator.num_processes
        return step * per_step / self.batches.epoch_length

    def _details(self, update: Update) -> dict[str, Any]:
        """What a snapshot's manifest says of the training behind it."""
        return {
            "epoch": round(self._epoch(self.step), 4),
            "loss": update.loss if math.isfinite(update.loss) else None,
            "learning_rate": update.learning_rate,
            "rank": self.config.lora.rank,
            "lora_alpha": self.config.lora.lora_alpha,
            "base_model": self.config.model.path,
        }

    def _checkpoint(self) -> Checkpoint:
        scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler else {}
        optimizer = copy_to_host(self.optimizer.state_dict())
        return Checkpoint(self.step, lora.state(self.adapted), optimizer, scaler, self._accumulation.micro_batch_size)

    def _row(self, update: Update) -> dict[str, tables.Value]:
        settings = self.config.train
        pictures = settings.train_batch_size * settings.gradient_accumulation_steps * self.accelerator.num_processes
        return {
            "step": self.step,
            "epoch": round(self._epoch(self.step), 4),
            "loss": update.loss,
            "learning_rate": update.learning_rate,
            "grad_norm": update.grad_norm,
            "samples_per_second": round(pictures / update.seconds, 3),
            "step_seconds": round(update.seconds, 4),
            **_memory(self.accelerator.device),
            "timestamp": utc_now(),
        }


def _memory(device: torch.device) -> dict[str, tables.Value]:
    """Memory columns of train.csv, MiB; None where the device keeps no count."""
    row: dict[str, tables.Value] = {"process_rss_mib": round(hardware.process_rss_mib(), 1)}
    if device.type == "cuda":
        row["gpu_allocated_mib"] = round(torch.cuda.memory_allocated(device) / hardware.MIB, 1)
        row["gpu_reserved_mib"] = round(torch.cuda.memory_reserved(device) / hardware.MIB, 1)
        row["gpu_device_used_mib"] = hardware.gpu_used_mib(torch.cuda._get_nvml_device_index(device.index or 0))
    return row
