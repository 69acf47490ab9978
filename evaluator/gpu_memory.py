"""Memory: how much of a device this evaluator may take, and whether what it holds only ever grows.

A GPU is shared with the trainer as a rule. What the trainer is expected to need at its worst is left to it, so that the
one who runs out of memory, and helps itself with smaller batches, is the evaluator.
"""

from __future__ import annotations

import logging

import torch
from diffusers.training_utils import free_memory

from shared.machine.hardware import MIB
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.records import RunRecord
from shared.run_folder.run_dir import RunDir

log = logging.getLogger(__name__)

TRAINER_MARGIN = 1.1
"""The estimate of the trainer's peak errs by about a tenth: benchmarks/step_memory_2-core-cpu_202611.md."""
CONTEXT_MIB = 512.0
"""Kernels and handles of a process, which the allocator's limit does not count."""
MIN_SHARE = 0.02
"""Of the device: below this nothing could even be tried."""
WARM_UP = 10
"""Evaluations until memory has taken its shape."""
GROWTH, GROWTH_MIB = 1.25, 256.0
"""More than this since then, by both measures, is an alarm."""


def trainer_mib(record: RunRecord) -> float:
    """The estimated peak of the trainer on its GPU, from `run.json`; 0: unknown, or it runs on no GPU."""
    places = record.memory or {}
    return sum(sum(place.get("trainer", {}).values()) for name, place in places.items() if name.startswith("GPU"))


def expected_mib(run: RunDir, device: torch.device) -> float:
    """What the trainer needs of this device at its worst, MiB; 0: it is not at work there."""
    shares = device.type == "cuda" and (device.index or 0) < run.read_config().train.num_processes
    return trainer_mib(run.read_record()) if shares and is_alive(read_status(run, "trainer")) else 0.0


def allowance_mib(total: float, used_by_others: float, trainer: float) -> float:
    """What this process may allocate on a device of `total`: all but what others hold or the trainer will; MiB."""
    return total - max(used_by_others, TRAINER_MARGIN * trainer) - CONTEXT_MIB


def limit(device: torch.device, trainer: float) -> float | None:
    """Measure the device and cap this process's allocations on it; what it may take in MiB, None without CUDA.

    trainer: the peak to be left to it, MiB; 0 where it is not at work on this device.
    """
    if device.type != "cuda":
        return None
    free_memory()
    free, total = (size / MIB for size in torch.cuda.mem_get_info(device))
    others = total - free - torch.cuda.memory_reserved(device) / MIB - CONTEXT_MIB
    allowed = allowance_mib(total, others, trainer)
    torch.cuda.set_per_process_memory_fraction(min(1.0, max(MIN_SHARE, allowed / total)), device)
    return allowed


class LeakDetector:
    """Whether this process only ever grows from one evaluation to the next."""

    def __init__(self) -> None:
        self._count, self._settled, self._told = 0, 0.0, False

    def alarm(self, rss_mib: float) -> str:
        """A sentence, once, when resident memory has grown far beyond what it was after the warm-up; else empty."""
        self._count += 1
        if self._count <= WARM_UP:
            self._settled = rss_mib
        grown = rss_mib > GROWTH * self._settled and rss_mib > self._settled + GROWTH_MIB
        if self._told or not grown:
            return ""
        self._told = True
        return (
            f"the evaluator's memory grew from {self._settled:.0f} to {rss_mib:.0f} MiB "
            f"between its evaluations {WARM_UP} and {self._count}"
        )
