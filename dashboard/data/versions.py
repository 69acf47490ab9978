"""What of a run has changed: one short text for each part of its folder, from the times of its files alone.

A page asks for these texts, and draws a panel again only when the part that it shows has another one.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from dashboard.data.reader import version_of
from shared.run_folder.heartbeat import STALE_SECONDS
from shared.run_folder.run_dir import RunDir

PARTS: dict[str, Callable[[RunDir], Iterable[Path]]] = {
    "train": lambda run: (run.train_csv, run.validation_csv),
    "metrics": lambda run: (run.metrics_csv, run.averages_csv, run.metric_descriptions, run.best),
    "evaluations": lambda run: (run.evaluations, *run.evaluations.glob("step-*")),
    "snapshots": lambda run: (
        run.snapshots,
        run.deleted,
        run.confirmations,
        *run.snapshots.glob("step-*/*.safetensors"),
    ),
    "requests": lambda run: (run.control, *run.control.glob("*.answer.json"), run.requested, *run.requested.glob("*")),
    "exports": lambda run: (run.exports,),
    "notes": lambda run: (run.notes,),
    "votes": lambda run: run.votes.glob("*.jsonl"),
    "settings": lambda run: (run.config, run.record),
    "system": lambda run: run.path.glob("system*.csv"),
    "logs": lambda run: run.logs.glob("*.log"),
    "programs": lambda run: (run.logs,),
}


def versions(run: RunDir) -> dict[str, str]:
    """Part → a text that changes with it."""
    return {part: version(run, [part]) for part in PARTS}


def version(run: RunDir, parts: Iterable[str]) -> str:
    """A text that changes when one of these parts does."""
    return "-".join(_digest(PARTS[part](run)) for part in parts)


def is_live(run: RunDir) -> bool:
    """Whether a program of the run wrote its heartbeat lately."""
    beats: list[float] = []
    for path in run.processes.glob("*.json"):
        with suppress(OSError):
            beats.append(path.stat().st_mtime)
    return time.time() - max(beats, default=0.0) < STALE_SECONDS


def _digest(paths: Iterable[Path]) -> str:
    stamps: list[tuple[str, tuple[int, int]]] = []
    for path in sorted(paths):
        with suppress(OSError):
            stamps.append((path.name, version_of(path)))
    return f"{zlib.crc32(repr(stamps).encode()):x}"
