"""This machine at this moment: GPUs, processors, memory, disk. Measured only while somebody looks; nothing is kept."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pynvml

from shared.machine.hardware import open_nvml


@dataclass(frozen=True)
class Gpu:
    """One GPU; what its driver does not tell is None."""

    name: str
    used_bytes: int
    total_bytes: int
    celsius: int | None = None
    watts: float | None = None
    utilisation_percent: int | None = None


@dataclass(frozen=True)
class Machine:
    """Processors, memory and the disk that a folder is on."""

    cpu_percent: float
    num_cpus: int
    memory_used_bytes: int
    memory_total_bytes: int
    disk_free_bytes: int
    disk_total_bytes: int


def read_machine(folder: Path) -> Machine:
    """The state of now; processors since the last call."""
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(folder)
    return Machine(
        cpu_percent=psutil.cpu_percent(),
        num_cpus=psutil.cpu_count() or 1,
        memory_used_bytes=memory.total - memory.available,
        memory_total_bytes=memory.total,
        disk_free_bytes=disk.free,
        disk_total_bytes=disk.total,
    )


def read_gpus() -> list[Gpu]:
    """Every NVIDIA GPU; empty where there is none, or no driver."""
    with suppress(pynvml.NVMLError):
        open_nvml()
        return [_read_gpu(pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(pynvml.nvmlDeviceGetCount())]
    return []


def _read_gpu(handle: object) -> Gpu:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    celsius = watts = utilisation = None
    with suppress(pynvml.NVMLError):
        celsius = int(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
    with suppress(pynvml.NVMLError):
        watts = pynvml.nvmlDeviceGetPowerUsage(handle) / 1000
    with suppress(pynvml.NVMLError):
        utilisation = int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    name = pynvml.nvmlDeviceGetName(handle)
    return Gpu(str(name), int(memory.used), int(memory.total), celsius, watts, utilisation)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below; what vanishes meanwhile counts nothing."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total
