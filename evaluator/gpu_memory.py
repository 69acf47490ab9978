"""Memory: how much of a device this evaluator may use, and whether its memory keeps growing.

The evaluator usually shares a GPU with the trainer. It leaves free what the trainer is expected to need at its peak, so
that it is the evaluator that runs out of memory and continues with smaller batches.
"""

from __future__ import annotations

import logging

import torch
from accelerate.utils.memory import clear_device_cache

from shared.machine.hardware import MIB
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.records.run_record import RunRecord
from shared.run_folder.run_dir import RunDir
from tasks import devices

log = logging.getLogger(__name__)

TRAINER_MARGIN = 1.1
"""The error of the trainer's estimated peak is about a tenth: benchmarks/reports/step_memory_2-core-cpu_202611.md."""
CONTEXT_MIB = 512.0
"""Kernels and handles of a process, which the allocator's limit does not include."""
MIN_SHARE = 0.02
"""The smallest share of the device to allow: with less, nothing could be evaluated."""
WARM_UP = 10
"""Evaluations until the memory use is stable."""
GROWTH, GROWTH_MIB = 1.25, 256.0
"""Growth since then beyond both limits raises an alarm."""


def trainer_mib(record: RunRecord) -> float:
    """The estimated peak of the trainer on its GPU, from `run.json`; 0: unknown, or it runs on no GPU."""
    places = record.memory or {}
    return sum(sum(place.get("trainer", {}).values()) for name, place in places.items() if name.startswith("GPU"))


def expected_mib(run: RunDir, device: torch.device) -> float:
    """The trainer's expected peak on this device, MiB; 0: it does not run there, or not while this evaluator draws."""
    shares = device.type == "cuda" and is_shared(run, device) and not run.read_config().evaluation.turns
    return trainer_mib(run.read_record()) if shares and is_alive(read_status(run, "trainer")) else 0.0


def is_shared(run: RunDir, device: torch.device) -> bool:
    """Whether a trainer of this run would use this device too."""
    if device.type == "cuda":
        return (device.index or 0) < run.read_config().train.num_processes
    return device.type == devices.choose_device("auto").type


def allowance_mib(total: float, used_by_others: float, trainer: float) -> float:
    """What this process may allocate on a device of `total`: all but the memory that others use or the trainer will
    need; MiB.
    """
    return total - max(used_by_others, TRAINER_MARGIN * trainer) - CONTEXT_MIB


def limit(device: torch.device, trainer: float) -> float | None:
    """Measure the device and cap this process's allocations on it; returns the cap in MiB, None without CUDA.

    trainer: the trainer's expected peak on this device, MiB; 0 if it does not run there.
    """
    if device.type != "cuda":
        return None
    clear_device_cache(garbage_collection=True)
    free, total = (size / MIB for size in torch.cuda.mem_get_info(device))
    others = total - free - torch.cuda.memory_reserved(device) / MIB - CONTEXT_MIB
    allowed = allowance_mib(total, others, trainer)
    torch.cuda.set_per_process_memory_fraction(min(1.0, max(MIN_SHARE, allowed / total)), device)
    return allowed


class LeakDetector:
    """Whether the memory of this process grows from one evaluation to the next."""

    def __init__(self) -> None:
        self._count, self._settled, self._reported = 0, 0.0, False

    def alarm(self, rss_mib: float) -> str:
        """A sentence, once, if resident memory has grown far beyond its size after the warm-up; else empty."""
        self._count += 1
        if self._count <= WARM_UP:
            self._settled = rss_mib
        grown = rss_mib > GROWTH * self._settled and rss_mib > self._settled + GROWTH_MIB
        if self._reported or not grown:
            return ""
        self._reported = True
        return (
            f"the evaluator's memory grew from {self._settled:.0f} to {rss_mib:.0f} MiB "
            f"between its evaluations {WARM_UP} and {self._count}"
        )
