"""How much disk space a run needs, and whether the next save still fits.

Weights and optimizer states are counted from their tensors; the task estimates the files of its results. Snapshots and
checkpoints are kept up to their limits, plus one of each while it is written.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from shared.config.save_interval import AnySaveInterval, steps_due
from shared.config.schema import TrainConfig

MARGIN_BYTES = 1 << 20
"""For rows, logs and records beside a save."""
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class ResultBytes:
    """Bytes that evaluation writes: for each snapshot, and at the end, when the best are evaluated again and the one to
    ship is drawn at other strengths."""

    per_snapshot: float = 0.0
    at_the_end: float = 0.0


@dataclass(frozen=True)
class Need:
    """Bytes of one save of each kind, and of everything that a run will still write."""

    snapshot: int
    checkpoint: int
    rest_of_run: int
    without_limit: int
    """The same where every snapshot is kept."""

    @property
    def next_save(self) -> int:
        """A snapshot and a checkpoint being written, and the records beside them."""
        return self.snapshot + self.checkpoint + MARGIN_BYTES


def estimate(
    settings: TrainConfig, step: int, steps_per_epoch: float, snapshot: int, checkpoint: int, results: ResultBytes
) -> Need:
    """The bytes that a run at `step` will still write. snapshot, checkpoint: bytes of one.

    The number of saves at intervals of minutes cannot be predicted: only the last one is counted.
    """
    num_snapshots = num_saves(settings.snapshot_steps, step, settings.max_train_steps, steps_per_epoch)
    num_checkpoints = min(
        num_saves(settings.checkpointing_steps, step, settings.max_train_steps, steps_per_epoch),
        settings.checkpoints_total_limit + 1,
    )
    num_kept = (
        min(num_snapshots, settings.snapshots_total_limit + 1) if settings.snapshots_total_limit else num_snapshots
    )
    rest = num_snapshots * results.per_snapshot + results.at_the_end + num_checkpoints * checkpoint + MARGIN_BYTES
    return Need(snapshot, checkpoint, int(rest + num_kept * snapshot), int(rest + num_snapshots * snapshot))


def forecast(need: Need, limit: int | None) -> str:
    """What a run takes on the disk, before it trains. limit: `train.snapshots_total_limit`."""
    takes, without = in_words(need.rest_of_run), in_words(need.without_limit)
    if limit is None:
        return f"this run will take about {without} on disk, {in_words(need.snapshot)} for each snapshot"
    return (
        f"this run will take about {takes} on disk with train.snapshots_total_limit = {limit}, {without} without it; "
        "snapshots that wait for evaluation come on top"
    )


def num_saves(interval: AnySaveInterval, step: int, last_step: int, steps_per_epoch: float) -> int:
    """Saves after `step` up to `last_step`; the last step always saves."""
    return len(steps_due(interval, step, last_step, steps_per_epoch))


def free_bytes(folder: Path) -> int | None:
    """Bytes a user can still write under `folder`; None if the system does not report it."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def in_words(num_bytes: float) -> str:
    """`1.5 GiB`."""
    unit = 0
    while num_bytes >= 1024 and unit < len(UNITS) - 1:
        num_bytes, unit = num_bytes / 1024, unit + 1
    return f"{num_bytes:.1f} {UNITS[unit]}" if unit else f"{num_bytes:.0f} B"


def shortage(folder: Path, need: Need) -> str:
    """Why training must end while the last save still fits, with as much in reserve; empty if there is enough space."""
    free, required = free_bytes(folder), 2 * need.next_save
    if free is None or free >= required:
        return ""
    return f"{in_words(free)} are free under {folder}, two saves need {in_words(required)}"
