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

from shared import changes, disk, hardware, tables
from shared.cadence import AnyCadence, is_due
from shared.config import Config
from shared.diffusion import lora
from shared.diffusion.model import Conditioning, Model
from shared.errors import RunFolderError
from shared.publication import read_manifest
from shared.records import utc_now
from shared.rundir import RunDir
from shared.status import Status
from trainer import compute, objective, order
from trainer import optimizer as optimizers
from trainer.accumulation import Accumulation
from trainer.batches import Batches
from trainer.checkpoint import Checkpoint, copy_to_host
from trainer.orders import Orders
from trainer.publisher import Publisher
from trainer.stopping import StopSignal, TimeLimit, first_save_seconds
from trainer.validation import Validation

log = logging.getLogger(__name__)

PAUSE_POLL_SECONDS = 0.2
GUARD_HINT = "lower train.learning_rate and allow it by --allow-change; the same command resumes from the last save"


@dataclass
class Update:
    """What one optimizer update did. Mutable: filled while the step runs."""

    loss: float = 0.0
    grad_norm: float = 0.0
    learning_rate: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Desk:
    """What the main process alone has: it writes and answers, the others only compute."""

    status: Status
    publisher: Publisher
    orders: Orders
    limit: TimeLimit
    need: disk.Need

    @property
    def save_seconds(self) -> float:
        """What the last save may take."""
        return self.publisher.longest_save_seconds or first_save_seconds(self.need.next_save)


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

    def __init__(
        self,
        run: RunDir,
        config: Config,
        accelerator: Accelerator,
        model: Model,
        batches: Batches,
        validation: Validation | None = None,
    ) -> None:
        self.run, self.config, self.accelerator = run, config, accelerator
        self.model, self.batches, self.validation = model, batches, validation
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
        self._validation_seconds = 0.0

    def _optimizer(self) -> torch.optim.Optimizer:
        for part in self.adapted.values():
            part.to(self.accelerator.device)
        denoiser = lora.parameters(self.model.denoiser)
        return optimizers.build(denoiser, self.parameters[len(denoiser) :], self.config.train)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint: adapter, optimizer moments, gradient scaler, step, what fits into memory."""
        lora.restore(self.adapted, checkpoint.adapter)
        self._require_same_stream(checkpoint.step)
        optimizers.restore(self.optimizer.optimizer, checkpoint.optimizer)
        if self.accelerator.scaler and checkpoint.scaler:
            self.accelerator.scaler.load_state_dict(checkpoint.scaler)
        if checkpoint.micro_batch_size:
            self._accumulation.limit(checkpoint.micro_batch_size)
        self.step = checkpoint.step

    def _require_same_stream(self, step: int) -> None:
        """Positions in the stream of pictures are counted in whole updates.

        Raises:
            RunFolderError: the checkpoint was made with another number of pictures to an update.
        """
        manifest = read_manifest(self.run.checkpoint(step))
        before = manifest.details.get("pictures_per_step") if manifest else None
        if before not in (None, self.pictures_per_step):
            raise RunFolderError(
                f"the checkpoint of step {step} was made with {before} pictures per update over all processes, "
                f"now there are {self.pictures_per_step}: some would be skipped or seen twice",
                "launch as many processes as before, or start another run with --new",
            )

    def train(self, stop: StopSignal, desk: Desk | None) -> str | None:
        """Update until `max_train_steps`; returns why it ended early, None if it did not. desk: main process only."""
        settings = self.config.train
        table = tables.Appender(self.run.train_csv, tables.TRAIN_COLUMNS) if desk else None
        reason, note = self._wait(stop, desk, None), ""
        if self.step == 0 and reason is None:
            self._validate(desk)
        while self.step < settings.max_train_steps and reason is None:
            update = self._update(self.step + 1)
            self.step += 1
            self._guard(update, stop, desk)
            if desk and table:
                table.append(self._row(update))
                desk.status.update(step=self.step, total=settings.max_train_steps, message=self._message(update))
                desk.limit.lap()
            if desk and self._accumulation.note != note:
                note = self._accumulation.note
                desk.status.notice(note)
            if self._is_validation_due():
                self._validate(desk)
            reason = self._wait(stop, desk, update)
            if desk:
                self._save(update, stop, desk, last=reason is not None or self.step == settings.max_train_steps)
        return reason

    def _save(self, update: Update, stop: StopSignal, desk: Desk, *, last: bool) -> None:
        """Publish what is due, or all at the last step; state that is not finite ends training."""
        settings, whole = self.config.train, True
        asked = desk.orders.wants_snapshot(self.step)
        if self._is_due("snapshot", settings.snapshot_steps) or last or asked:
            whole = self._snapshot(update, desk)
        if self._is_due("checkpoint", settings.checkpointing_steps) or last:
            whole = desk.publisher.checkpoint(self._checkpoint(), self._checkpoint_details()) and whole
        if not whole:
            stop.fail(f"the adapter is not finite at step {self.step}", GUARD_HINT)
        desk.publisher.raise_failures()
        desk.orders.settle()

    def _snapshot(self, update: Update, desk: Desk) -> bool:
        weights, metadata = lora.state(self.adapted), lora.metadata(self.adapted)
        return desk.publisher.snapshot(self.step, weights, metadata, self._details(update))

    def _wait(self, stop: StopSignal, desk: Desk | None, update: Update | None) -> str | None:
        """Between two steps: the reason to stop, if there is one; stays here while the run is paused.

        update: the step just made, None before the first.
        """
        while True:
            if desk:
                self._watch(stop, desk)
            reason, held = self._agree(stop.reason(self.step), desk is not None and desk.orders.is_paused(self.step))
            if reason is not None or not held or self.step == self.config.train.max_train_steps:
                break
            if desk:
                desk.status.update("paused", message=f"after step {self.step}")
                if update and desk.orders.wants_snapshot(self.step):
                    self._snapshot(update, desk)
                desk.orders.settle()
            time.sleep(PAUSE_POLL_SECONDS)
        if desk:
            desk.status.update("training")
            desk.limit.rest()
        return reason

    def _watch(self, stop: StopSignal, desk: Desk) -> None:
        """Stop while there is still time and room for the last save."""
        if desk.limit.is_up(desk.save_seconds + self._validation_seconds):
            stop.ask(f"stop.max_train_seconds ({desk.limit.limit:g}) is nearly over")
        if shortage := disk.shortage(self.run.path, desk.need):
            stop.fail(f"the disk is nearly full: {shortage}", "make room; the same command goes on from here")

    def _is_validation_due(self) -> bool:
        """At steps that depend on the settings alone, a stop or not: a resumed run has the rows of an uninterrupted."""
        every = self.config.train.validation_steps
        return every is not None and (self.step % every == 0 or self.step == self.config.train.max_train_steps)

    def _validate(self, desk: Desk | None) -> None:
        """Measure the held-out loss; its row is written before anything of this step is saved."""
        if self.validation is None:
            return

        def progress(done: int, total: int) -> None:
            if desk:
                desk.status.update(message=f"held-out loss {done}/{total}")

        started = time.monotonic()
        losses = self.validation.measure(
            self.predictor, self.scheduler, self.accelerator, self._accumulation.micro_batch_size, progress
        )
        seconds = time.monotonic() - started
        self._validation_seconds = max(seconds, self._validation_seconds)
        if desk:
            row = {"step": self.step, **losses.row(), "seconds": round(seconds, 3), "timestamp": utc_now()}
            tables.Appender(self.run.validation_csv, tables.VALIDATION_COLUMNS).append(row)

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

    def _agree(self, reason: str | None, held: bool) -> tuple[str | None, bool]:
        """All processes leave, or hold, together: one process's reason becomes everybody's."""
        if self.accelerator.num_processes == 1:
            return reason, held
        asked = torch.zeros(self.accelerator.num_processes + 1, device=self.accelerator.device)
        asked[self.accelerator.process_index], asked[-1] = float(reason is not None), float(held)
        *leave, hold = (cast("torch.Tensor", self.accelerator.reduce(asked, "sum")) > 0).tolist()
        return reason or (f"asked of process {leave.index(True)}" if any(leave) else None), hold

    def _guard(self, update: Update, stop: StopSignal, desk: Desk | None) -> None:
        """Count updates without finite gradients (they were skipped) and stop after too many in a row.

        Where the adapter itself is no longer finite, no further step can mend it.
        """
        if math.isfinite(update.loss) and math.isfinite(update.grad_norm):
            self._bad_steps = 0
            return
        self._bad_steps += 1
        text = f"step {self.step} skipped: loss {update.loss}, gradient norm {update.grad_norm}"
        log.warning(text)
        if desk and self._bad_steps == 1:
            desk.status.notice(text)
        if not lora.is_finite(lora.state(self.adapted)):
            stop.fail(f"the adapter is not finite at step {self.step}", GUARD_HINT)
        elif self._bad_steps >= self.config.stop.max_bad_steps:
            stop.fail(f"{self._bad_steps} steps in a row without finite gradients, up to {self.step}", GUARD_HINT)

    def _epoch(self, step: int) -> float:
        """Passes over the training pictures after this step."""
        return step * self.pictures_per_step / self.batches.epoch_length

    @property
    def pictures_per_step(self) -> int:
        """Pictures one optimizer update sees, over all processes."""
        settings = self.config.train
        return settings.train_batch_size * settings.gradient_accumulation_steps * self.accelerator.num_processes

    def need(self) -> disk.Need:
        """What this run will still write; optimizers keep two values for every weight (AdamW), or four (Prodigy)."""
        size = sum(value.nbytes for value in lora.state(self.adapted).values())
        values = 5 if self.config.train.optimizer.casefold() == "prodigy" else 3
        return disk.estimate(
            self.config, self.step, self.batches.epoch_length / self.pictures_per_step, size, values * size
        )

    def _checkpoint_details(self) -> dict[str, Any]:
        """What a run that goes on from this checkpoint must agree with."""
        return {"settings": changes.state_settings(self.config), "pictures_per_step": self.pictures_per_step}

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
        return {
            "step": self.step,
            "epoch": round(self._epoch(self.step), 4),
            "loss": update.loss,
            "learning_rate": update.learning_rate,
            "grad_norm": update.grad_norm,
            "samples_per_second": round(self.pictures_per_step / update.seconds, 3),
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
