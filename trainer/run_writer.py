"""Everything that only the trainer's main process does: write tables, publish, answer requests, report the state."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import partial

import torch

import tasks
from shared.config.schema import Config
from shared.errors import TrainingError
from shared.files.publication import sweep
from shared.launch import setting_changes
from shared.machine import disk
from shared.run_folder import tables
from shared.run_folder.heartbeat import Status
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import utc_now
from tasks import devices
from tasks.protocol import HeldOutLosses
from trainer.checkpoint import EXAMPLES_PER_STEP
from trainer.control_requests import ControlRequests
from trainer.learner import Learner, Update
from trainer.publisher import Publisher
from trainer.stopping import TimeLimit, first_save_seconds

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunWriter:
    """Writes the tables, publishes snapshots and checkpoints, reports the state."""

    run: RunDir
    config: Config
    learner: Learner
    status: Status
    publisher: Publisher
    control_requests: ControlRequests
    limit: TimeLimit
    need: disk.Need
    train_csv: tables.Appender

    @property
    def save_seconds(self) -> float:
        """How long the last save may take."""
        return self.publisher.longest_save_seconds or first_save_seconds(self.need.next_save)

    def notice(self, text: str) -> None:
        """Report something that the user should know."""
        notice(self.status, text)

    def note_update(self, update: Update, note: str = "") -> None:
        """Write a row of train.csv and the state, with a note about the session."""
        learner = self.learner
        self.train_csv.append(
            {
                "step": learner.step,
                "epoch": round(learner.epoch(learner.step), 4),
                "loss": update.loss,
                "learning_rate": update.learning_rate,
                "grad_norm": update.grad_norm,
                "samples_per_second": round(learner.examples_per_step / update.seconds, 3),
                "step_seconds": round(update.seconds, 4),
                **_memory(learner.accelerator.device),
                "timestamp": utc_now(),
            }
        )
        message = "; ".join(filter(None, (f"loss {update.loss:.4f}", learner.note, note)))
        self.status.update(step=learner.step, total=self.config.train.max_train_steps, message=message)
        self.limit.lap()

    def note_losses(self, losses: HeldOutLosses, seconds: float) -> None:
        """Write the losses of single examples, then a row of validation.csv; its columns are those of the first row."""
        step = self.learner.step
        if losses.held_out or losses.probe:
            table = tables.Appender(self.run.validation_examples_csv, tables.EXAMPLE_COLUMNS)
            for part, by_id in (("held out", losses.held_out), ("probe", losses.probe)):
                for example, loss in by_id.items():
                    table.append({"step": step, "part": part, "id": example, "loss": loss})
        row = {"step": step, **losses.columns, "seconds": round(seconds, 3), "timestamp": utc_now()}
        tables.Appender(self.run.validation_csv, tuple(row)).append(row)

    def held_out_losses(self) -> list[float]:
        """Those of all steps so far."""
        rows = tables.read_rows(self.run.validation_csv)
        return [float(row["held_out_loss"] or "nan") for row in rows]

    def snapshot(self, update: Update) -> bool:
        """Publish the present weights; False: they are not finite."""
        learner, step = self.learner, self.learner.step
        details = {
            "epoch": round(learner.epoch(step), 4),
            "loss": update.loss if math.isfinite(update.loss) else None,
            "learning_rate": update.learning_rate,
            **learner.training.details,
        }
        weights = learner.weights()
        write = partial(learner.training.write, weights=weights, step=step)
        return self.publisher.snapshot(step, weights, write, details)

    def checkpoint(self) -> bool:
        """Publish everything needed to resume; False: it is not finite."""
        details = {
            "settings": setting_changes.state_settings(self.config),
            EXAMPLES_PER_STEP: self.learner.examples_per_step,
        }
        return self.publisher.checkpoint(self.learner.checkpoint(), details)

    def close(self, message: str) -> None:
        """Wait until everything is saved, then answer the remaining requests."""
        self.status.update("saving", message=message)
        self.publisher.close()
        self.control_requests.close()


def open_run_writer(run: RunDir, config: Config, learner: Learner, status: Status, limit: TimeLimit) -> RunWriter:
    """Prepare the folder to continue after the learner's step: no later rows, nothing half-written, space to save.

    Raises:
        TrainingError: the next saves do not fit on the disk.
    """
    sweep(run.staging)
    _prune(run, learner.step, status)
    need = _need(config, learner)
    kept = config.train.snapshots_total_limit
    _require_room(run, need, kept, status)
    forecast = disk.forecast(need, kept)
    log.info(forecast)
    status.update(forecast=forecast)
    for text in learner.training.notices:
        notice(status, text)
    publisher = Publisher(
        run,
        run.read_record().run_id,
        config.train.checkpoints_total_limit,
        notice=lambda text: notice(status, text),
    )
    train_csv = tables.Appender(run.train_csv, tables.TRAIN_COLUMNS)
    return RunWriter(run, config, learner, status, publisher, ControlRequests(run), limit, need, train_csv)


def notice(status: Status | None, text: str) -> None:
    """Report something that the user should know: in the log and, if this process has a status, there too."""
    log.warning(text)
    if status:
        status.notice(text)


def _prune(run: RunDir, step: int, status: Status) -> None:
    pruned = tables.prune(run.train_csv, lambda row: int(row["step"]) <= step)
    if pruned and step:
        log.info("removed %d rows past step %d from train.csv", pruned, step)
    elif pruned:
        notice(status, f"there was no checkpoint yet: training starts again at step 1 and repeats {pruned} steps")
    for path in (run.validation_csv, run.validation_examples_csv):
        tables.prune(path, lambda row: 0 < step >= int(row["step"]))


def _need(config: Config, learner: Learner) -> disk.Need:
    """Bytes this run will still write. A checkpoint holds each weight and two more values (AdamW) or four (Prodigy), in
    fp32; a snapshot the weights in `train.snapshot_dtype`."""
    size = sum(value.nbytes for value in learner.weights().values())
    snapshot = size if config.train.snapshot_dtype == "fp32" else size // 2
    copies = (5 if config.train.optimizer.casefold() == "prodigy" else 3) + bool(config.train.ema_decay)
    results = tasks.find(config.run.task).result_bytes(config)
    return disk.estimate(config.train, learner.step, learner.steps_per_epoch, snapshot, copies * size, results)


def _require_room(run: RunDir, need: disk.Need, kept: int | None, status: Status) -> None:
    if shortage := disk.shortage(run.path, need):
        raise TrainingError(
            f"there is not enough disk space to train: {shortage}", "free disk space, or set run.output_dir"
        )
    free = disk.free_bytes(run.path)
    if free is not None and free < need.rest_of_run:
        text = f"{disk.in_words(free)} are free, this run will need about {disk.in_words(need.rest_of_run)}"
        cure = "" if kept else "; train.snapshots_total_limit keeps the weights of the best snapshots only"
        notice(status, f"{text}; training stops before the disk is full{cure}")


def _memory(device: torch.device) -> dict[str, tables.Value]:
    """Memory columns of train.csv, MiB; None where the system does not report a value."""
    row: dict[str, tables.Value] = {"process_rss_mib": None, **devices.memory(device)}
    if device.type == "cuda":
        row["gpu_device_used_mib"] = devices.used_mib(device)
    return row
