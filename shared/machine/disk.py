"""How much disk space a run needs, and whether the next save still fits.

Estimates: adapters and optimizer states are counted from their tensors, pictures are taken at PNG's usual size for
photographs. Snapshots are never deleted; checkpoints are kept up to their limit, one more while it is written.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from shared.config.save_interval import AnySaveInterval, EveryMinutes, is_due
from shared.config.schema import Config
from shared.run_folder.pending import NUM_FINALISTS

PNG_BYTES_PER_PIXEL = 1.8
MARGIN_BYTES = 1 << 20
"""For rows, logs and records beside a save."""
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class Need:
    """Bytes: one save of each kind, and all that a run will still write."""

    snapshot: int
    checkpoint: int
    rest_of_run: int

    @property
    def next_save(self) -> int:
        """A snapshot and a checkpoint being written, and the records beside them."""
        return self.snapshot + self.checkpoint + MARGIN_BYTES


def estimate(config: Config, step: int, steps_per_epoch: float, snapshot: int, checkpoint: int) -> Need:
    """The bytes that a run at `step` will still write. snapshot, checkpoint: bytes of one.

    Saves by the minute cannot be predicted: only the last one of them is counted.
    """
    settings, evaluation = config.train, config.evaluation
    num_snapshots = num_saves(settings.snapshot_steps, step, settings.max_train_steps, steps_per_epoch)
    num_checkpoints = min(
        num_saves(settings.checkpointing_steps, step, settings.max_train_steps, steps_per_epoch),
        settings.checkpoints_total_limit + 1,
    )
    picture = config.data.resolution**2 * PNG_BYTES_PER_PIXEL
    each = evaluation.num_prompts * evaluation.num_seeds * picture
    further = min(evaluation.confirm_prompts, config.data.num_validation - evaluation.num_prompts)
    final = (1 + NUM_FINALISTS) * further * evaluation.confirm_seeds * picture
    rest = num_snapshots * (snapshot + each) + final + num_checkpoints * checkpoint + MARGIN_BYTES
    return Need(snapshot, checkpoint, int(rest))


def num_saves(interval: AnySaveInterval, step: int, last_step: int, steps_per_epoch: float) -> int:
    """Saves after `step` up to `last_step`; the last step always saves."""
    if isinstance(interval, EveryMinutes):
        return int(step < last_step)
    due = (
        is_due(interval, number, ((number - 1) / steps_per_epoch, number / steps_per_epoch), 0.0)
        for number in range(step + 1, last_step)
    )
    return sum(due) + int(step < last_step)


def free_bytes(folder: Path) -> int | None:
    """Bytes a user can still write under `folder`; None if the disk does not answer."""
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
    """Why training must end while a last save and the same amount again still fit; empty if there is enough space."""
    free, wanted = free_bytes(folder), 2 * need.next_save
    if free is None or free >= wanted:
        return ""
    return f"{in_words(free)} are free under {folder}, two saves need {in_words(wanted)}"
