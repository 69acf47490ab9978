"""The training loop: update after update until the last one or the first reason to stop, saving what is due."""

from __future__ import annotations

import logging
import time
from typing import cast

import torch

from shared.config.save_interval import AnySaveInterval, is_due
from shared.config.schema import Config
from shared.machine import disk
from shared.run_folder.run_dir import RunDir
from trainer.learner import Learner, Update
from trainer.run_writer import RunWriter
from trainer.stopping import StopSignal

log = logging.getLogger(__name__)

PAUSE_POLL_SECONDS = 0.2
GUARD_HINT = "lower train.learning_rate and allow it by --allow-change; the same command resumes from the last save"


class Trainer:
    """Drives a learner; every process runs the same loop, one of them at the writer."""

    def __init__(
        self, run: RunDir, config: Config, learner: Learner, stop: StopSignal, writer: RunWriter | None
    ) -> None:
        """writer: the main process's; None on the others."""
        self.run, self.config, self.learner, self.stop, self.writer = run, config, learner, stop, writer
        self._bad_steps = 0
        self._note = ""
        self._started = time.monotonic()
        self._saved_at: dict[str, float] = {}
        self._validation_seconds = 0.0

    def train(self) -> str | None:
        """Update until `max_train_steps`; returns why it ended early, None if it did not."""
        reason = self._wait(None)
        if self.learner.step == 0 and reason is None:
            self._validate()
        while not self._is_complete and reason is None:
            update = self.learner.update()
            self._guard(update)
            if self.writer:
                self.writer.note_update(update)
                self._tell_note(self.writer)
            if self._is_validation_due():
                self._validate()
            reason = self._wait(update)
            if self.writer:
                self._save(update, self.writer, last=self._is_complete or reason is not None)
        return reason

    @property
    def _is_complete(self) -> bool:
        return self.learner.step >= self.config.train.max_train_steps

    def _save(self, update: Update, writer: RunWriter, *, last: bool) -> None:
        """Publish what is due, or all at the last step; state that is not finite ends training."""
        settings, whole = self.config.train, True
        asked = writer.control_requests.wants_snapshot(self.learner.step)
        if self._is_due("snapshot", settings.snapshot_steps) or last or asked:
            whole = writer.snapshot(update)
        if self._is_due("checkpoint", settings.checkpointing_steps) or last:
            whole = writer.checkpoint() and whole
        if not whole:
            self._fail_for_weights()
        writer.publisher.raise_failures()
        writer.control_requests.settle()

    def _is_due(self, what: str, interval: AnySaveInterval) -> bool:
        """Whether this step is one to save at; remembers when that last was so."""
        step, epoch = self.learner.step, self.learner.epoch
        elapsed = time.monotonic() - self._saved_at.setdefault(what, self._started)
        due = is_due(interval, step, (epoch(step - 1), epoch(step)), elapsed)
        if due:
            self._saved_at[what] = time.monotonic()
        return due

    def _wait(self, update: Update | None) -> str | None:
        """Between two steps: the reason to stop, if there is one; stays here while the run is paused.

        update: the one just made, None before the first.
        """
        while True:
            reason, held = self._agree(*self._asked())
            if reason is not None or not held or self._is_complete:
                break
            if self.writer:
                self._hold(update, self.writer)
            time.sleep(PAUSE_POLL_SECONDS)
        if self.writer:
            self.writer.status.update("training")
            self.writer.limit.rest()
        return reason

    def _asked(self) -> tuple[str | None, bool]:
        """(Why this process would stop, whether it would hold.)"""
        if self.writer:
            self._watch(self.writer)
        step = self.learner.step
        return self.stop.reason(step), self.writer is not None and self.writer.control_requests.is_paused(step)

    def _agree(self, reason: str | None, held: bool) -> tuple[str | None, bool]:
        """All processes leave, or hold, together: one process's reason becomes everybody's."""
        accelerator = self.learner.accelerator
        if accelerator.num_processes == 1:
            return reason, held
        asked = torch.zeros(accelerator.num_processes + 1, device=accelerator.device)
        asked[accelerator.process_index], asked[-1] = float(reason is not None), float(held)
        *leave, hold = (cast("torch.Tensor", accelerator.reduce(asked, "sum")) > 0).tolist()
        return reason or (f"asked of process {leave.index(True)}" if any(leave) else None), hold

    def _hold(self, update: Update | None, writer: RunWriter) -> None:
        """Answer what can be asked of a paused run."""
        writer.status.update("paused", message=f"after step {self.learner.step}")
        if update and writer.control_requests.wants_snapshot(self.learner.step):
            writer.snapshot(update)
        writer.control_requests.settle()

    def _watch(self, writer: RunWriter) -> None:
        """Stop while there is still time and room for the last save."""
        if writer.limit.is_up(writer.save_seconds + self._validation_seconds):
            self.stop.ask(f"stop.max_train_seconds ({writer.limit.limit:g}) is nearly over")
        if shortage := disk.shortage(self.run.path, writer.need):
            self.stop.fail(f"the disk is nearly full: {shortage}", "make room; the same command goes on from here")

    def _tell_note(self, writer: RunWriter) -> None:
        if self.learner.note != self._note:
            self._note = self.learner.note
            writer.status.notice(self._note or "whole batches fit into memory again")

    def _is_validation_due(self) -> bool:
        """At steps that depend on the settings alone, a stop or not: a resumed run has the rows of an uninterrupted."""
        every = self.config.train.validation_steps
        return every is not None and (self.learner.step % every == 0 or self._is_complete)

    def _validate(self) -> None:
        """Measure the held-out loss; its row is written before anything of this step is saved."""

        def progress(done: int, total: int) -> None:
            if self.writer:
                self.writer.status.update(message=f"held-out loss {done}/{total}")

        started = time.monotonic()
        losses = self.learner.validate(progress)
        seconds = time.monotonic() - started
        self._validation_seconds = max(seconds, self._validation_seconds)
        if self.writer and losses:
            self.writer.note_losses(losses, seconds)

    def _guard(self, update: Update) -> None:
        """Count updates without finite gradients (they were skipped) and stop after too many in a row.

        Those by which fp16's scaler finds its factor are normal, and not counted while it has room to fall. Where the
        adapter itself is no longer finite, no further step can mend it.
        """
        step = self.learner.step
        if update.is_finite:
            self._bad_steps = 0
            return
        if update.is_scale_search:
            log.info("step %d skipped: fp16 overflowed; the loss is now scaled by %g", step, update.loss_scale)
            return
        self._bad_steps += 1
        text = f"step {step} skipped: loss {update.loss}, gradient norm {update.grad_norm}"
        log.warning(text)
        if self.writer and self._bad_steps == 1:
            self.writer.status.notice(text)
        if not self.learner.is_finite():
            self._fail_for_weights()
        elif self._bad_steps >= self.config.stop.max_bad_steps:
            self.stop.fail(f"{self._bad_steps} steps in a row without finite gradients, up to {step}", GUARD_HINT)

    def _fail_for_weights(self) -> None:
        self.stop.fail(f"the adapter is not finite at step {self.learner.step}", GUARD_HINT)
