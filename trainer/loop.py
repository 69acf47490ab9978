"""The training loop: updates until the last step or the first reason to stop, and saves when one is due."""

from __future__ import annotations

import logging
import time
from typing import cast

import torch

from shared.config.save_interval import AnySaveInterval, is_due
from shared.config.schema import Config
from shared.errors import DeviceError
from shared.machine import card_turns, disk
from shared.run_folder.run_dir import RunDir
from trainer.learner import Learner, Update
from trainer.run_writer import RunWriter
from trainer.stopping import StopSignal, num_without_a_lower

log = logging.getLogger(__name__)

PAUSE_POLL_SECONDS = 0.2
NOT_FINITE_HINT = "lower train.learning_rate and run the same command with --allow-change: it resumes at the last save"


class Trainer:
    """Runs a learner. Every process runs the same loop; only the main process has a writer."""

    def __init__(
        self, run: RunDir, config: Config, learner: Learner, stop: StopSignal, writer: RunWriter | None
    ) -> None:
        """writer: None in all processes but the main one."""
        self.run, self.config, self.learner, self.stop, self.writer = run, config, learner, stop, writer
        self._bad_steps = 0
        self._note = ""
        self._started = time.monotonic()
        self._saved_at: dict[str, float] = {}
        self._validation_seconds = 0.0
        self._given_seconds = 0.0
        """For which the evaluator had the card."""

    def train(self) -> str | None:
        """Update until `max_train_steps`; returns the reason for ending early, None if there was none."""
        self._look_at_held_out_losses()
        reason = self._wait(None)
        if self.learner.step == 0 and reason is None:
            self._validate()
        while not self._is_complete and reason is None:
            update = self._update()
            self._guard(update)
            if self.writer:
                self.writer.note_update(update, self._given)
                self._report_note(self.writer)
            if self._is_validation_due():
                self._validate()
            reason = self._wait(update)
            if self.writer:
                self._save(update, self.writer, last=self._is_complete or reason is not None)
        return reason

    def _update(self) -> Update:
        """One update. Where not one example fits into memory, the state after the last one is saved first.

        Raises:
            DeviceError: out of memory with one example at a time.
        """
        try:
            return self.learner.update()
        except DeviceError:
            step = self.learner.step
            if self.writer and step and not self.run.checkpoint(step).exists():
                self.writer.checkpoint()
            raise

    @property
    def _given(self) -> str:
        return f"waited {self._given_seconds:.0f} s for the evaluator in all" if self._given_seconds else ""

    @property
    def _is_complete(self) -> bool:
        return self.learner.step >= self.config.train.max_train_steps

    def _save(self, update: Update, writer: RunWriter, *, last: bool) -> None:
        """Publish what is due, and everything at the last step. State that is not finite ends training."""
        settings, all_finite = self.config.train, True
        is_requested = writer.control_requests.wants_snapshot(self.learner.step)
        if self._is_due("snapshot", settings.snapshot_steps) or last or is_requested:
            all_finite = writer.snapshot(update)
        if self._is_due("checkpoint", settings.checkpointing_steps) or last:
            all_finite = writer.checkpoint() and all_finite
        if not all_finite:
            self._fail_for_weights()
        writer.publisher.raise_failures()
        writer.control_requests.settle()

    def _is_due(self, what: str, interval: AnySaveInterval) -> bool:
        """Whether to save at this step; keeps the time of the last save that was due."""
        step, epoch = self.learner.step, self.learner.epoch
        elapsed = time.monotonic() - self._saved_at.setdefault(what, self._started)
        due = is_due(interval, step, (epoch(step - 1), epoch(step)), elapsed)
        if due:
            self._saved_at[what] = time.monotonic()
        return due

    def _wait(self, update: Update | None) -> str | None:
        """Between two steps: wait while the run is paused, then return the reason to stop, if there is one.

        update: the last one; None before the first.
        """
        while True:
            reason, paused = self._agree(*self._requested())
            if reason is None and not self._is_complete and self.writer and self._give_turn(self.writer):
                continue
            if reason is not None or not paused or self._is_complete:
                break
            if self.writer:
                self._answer_while_paused(update, self.writer)
            time.sleep(PAUSE_POLL_SECONDS)
        if self.writer:
            self.writer.status.update("training")
            self.writer.limit.rest()
        return reason

    def _give_turn(self, writer: RunWriter) -> bool:
        """Leave the card to an evaluator that asks for it, until it has drawn or training must end; False: none asks.

        Training that ends meanwhile saves from the host's memory.
        """
        turn = card_turns.wanted(self.run) if self.config.evaluation.turns else None
        if turn is None:
            return False
        started = time.monotonic()
        self.learner.leave_device()
        card_turns.leave(self.run, turn)
        while card_turns.wanted(self.run) == turn:
            if self._requested()[0] is not None:
                return True
            seconds = time.monotonic() - started
            writer.status.update("waiting", message=f"{turn.what} has the card for {seconds:.0f} s")
            time.sleep(PAUSE_POLL_SECONDS)
        card_turns.come_back(self.run)
        self.learner.return_to_device()
        seconds = time.monotonic() - started
        self._given_seconds += seconds
        log.info("%s had the card for %.1f s", turn.what, seconds)
        return True

    def _requested(self) -> tuple[str | None, bool]:
        """(Why this process would stop, whether it would pause.)"""
        if self.writer:
            self._watch(self.writer)
        step = self.learner.step
        return self.stop.reason(step), self.writer is not None and self.writer.control_requests.is_paused(step)

    def _agree(self, reason: str | None, paused: bool) -> tuple[str | None, bool]:
        """All processes stop, or pause, together: a reason in one process ends all of them."""
        accelerator = self.learner.accelerator
        if accelerator.num_processes == 1:
            return reason, paused
        votes = torch.zeros(accelerator.num_processes + 1, device=accelerator.device)
        votes[accelerator.process_index], votes[-1] = float(reason is not None), float(paused)
        *stop_votes, any_paused = (cast("torch.Tensor", accelerator.reduce(votes, "sum")) > 0).tolist()
        if reason is None and any(stop_votes):
            reason = f"requested by process {stop_votes.index(True)}"
        return reason, any_paused

    def _answer_while_paused(self, update: Update | None, writer: RunWriter) -> None:
        """Answer the requests that a paused run can carry out."""
        writer.status.update("paused", message=f"after step {self.learner.step}")
        if update and writer.control_requests.wants_snapshot(self.learner.step):
            writer.snapshot(update)
        writer.control_requests.settle()

    def _watch(self, writer: RunWriter) -> None:
        """Stop while there is enough time and disk space for the last save."""
        if writer.limit.is_up(writer.save_seconds + self._validation_seconds):
            self.stop.ask(f"stop.max_train_seconds ({writer.limit.limit:g}) is nearly over")
        if shortage := disk.shortage(self.run.path, writer.need):
            self.stop.fail(
                f"the disk is nearly full: {shortage}", "free disk space, then run the same command to resume"
            )

    def _report_note(self, writer: RunWriter) -> None:
        if self.learner.note != self._note:
            self._note = self.learner.note
            writer.status.notice(self._note or "whole batches fit into memory again")

    def _is_validation_due(self) -> bool:
        """Depends on the step and the settings only: a resumed run has the same rows as an uninterrupted one."""
        interval = self.config.train.validation_steps
        return interval is not None and (self.learner.step % interval == 0 or self._is_complete)

    def _validate(self) -> None:
        """Measure the held-out loss. Its row is written before anything of this step is saved."""

        def progress(done: int, total: int) -> None:
            if self.writer:
                self.writer.status.update(message=f"held-out loss {done}/{total}")

        started = time.monotonic()
        losses = self.learner.validate(progress)
        seconds = time.monotonic() - started
        self._validation_seconds = max(seconds, self._validation_seconds)
        if self.writer and losses:
            self.writer.note_losses(losses, seconds)
            self._look_at_held_out_losses()

    def _look_at_held_out_losses(self) -> None:
        """Stop where none was lower for so long. The table tells, so a resumed run stops where an uninterrupted one
        does, and one that has stopped goes on only with more patience."""
        patience = self.config.stop.validation_patience
        if patience is None or self.writer is None or self._is_complete:
            return
        num_stale = num_without_a_lower(self.writer.held_out_losses())
        if num_stale >= patience:
            self.stop.ask(f"no held-out loss was lower in the last {num_stale} (stop.validation_patience)")

    def _guard(self, update: Update) -> None:
        """Count updates without finite gradients (they were skipped) and stop after too many in a row.

        Updates skipped while fp16's scaler looks for its factor are normal and do not count until the factor is below
        1. If the weights themselves are not finite, no further step can repair them, and training stops at once.
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
            self.stop.fail(f"{self._bad_steps} steps in a row without finite gradients, up to {step}", NOT_FINITE_HINT)

    def _fail_for_weights(self) -> None:
        self.stop.fail(f"the weights are not finite at step {self.learner.step}", NOT_FINITE_HINT)
