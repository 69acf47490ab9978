"""What a GPU does at this moment: memory, temperature, power, load. What its driver does not tell is None."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import pynvml

from shared.machine.hardware import open_nvml


@dataclass(frozen=True)
class Gpu:
    """One GPU."""

    name: str
    used_bytes: int
    total_bytes: int
    celsius: int | None = None
    watts: float | None = None
    utilisation_percent: int | None = None


def read_gpus() -> list[Gpu]:
    """Every NVIDIA GPU; empty where there is none, or no driver."""
    with suppress(pynvml.NVMLError):
        open_nvml()
        return [read_gpu(pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(pynvml.nvmlDeviceGetCount())]
    return []


def read_gpu(handle: Any) -> Gpu:
    """One GPU by its NVML handle.

    Raises:
        NVMLError: not even its name and its memory can be read.
    """
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    celsius = _told(lambda: int(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)))
    watts = _told(lambda: float(pynvml.nvmlDeviceGetPowerUsage(handle)) / 1000)
    utilisation = _told(lambda: int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))
    name = pynvml.nvmlDeviceGetName(handle)
    return Gpu(
        str(name),
        int(memory.used),
        int(memory.total),
        None if celsius is None else int(celsius),
        watts,
        None if utilisation is None else int(utilisation),
    )


def bytes_by_pid(handle: Any) -> dict[int, int]:
    """Memory of each process on a GPU. Empty where the driver does not tell; in a container its pids may be others."""
    with suppress(pynvml.NVMLError):
        processes = cast("list[Any]", pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
        return {int(process.pid): int(process.usedGpuMemory) for process in processes if process.usedGpuMemory}
    return {}


def _told(ask: Callable[[], float]) -> float | None:
    with suppress(pynvml.NVMLError):
        return ask()
    return None
