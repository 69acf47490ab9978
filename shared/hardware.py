"""What machine this is and how much of it is in use. A number that cannot be had is None, never a guess."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from typing import Any

import psutil
import pynvml

MIB = 1 << 20


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA device as NVML sees it."""

    index: int
    name: str
    used_mib: float
    total_mib: float
    compute_capability: tuple[int, int] = (0, 0)
    """(8, 0) and later compute in bf16; (0, 0): not told."""

    @property
    def free_mib(self) -> float:
        """What nobody holds."""
        return self.total_mib - self.used_mib


def gpus() -> list[Gpu]:
    """Every NVIDIA device; empty without a driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def usable_gpus() -> list[Gpu]:
    """The devices torch would use, in its order: none with a CPU-only torch, else those CUDA_VISIBLE_DEVICES lists."""
    if "+cpu" in importlib.metadata.version("torch"):
        return []
    found = {str(gpu.index): gpu for gpu in gpus()}
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return list(found.values())
    return [found[name.strip()] for name in listed.split(",") if name.strip() in found]


def evaluator_gpu(num_gpus: int, num_training: int) -> int:
    """Which GPU `evaluation.device = "auto"` means: the first that no training process uses, else the first of all."""
    return num_training if num_gpus > num_training else 0


def gpu_used_mib(index: int) -> float | None:
    """Memory in use on a device by everyone, MiB; None without NVML."""
    return next((gpu.used_mib for gpu in gpus() if gpu.index == index), None)


def process_rss_mib() -> float:
    """Resident memory of this process, MiB."""
    return psutil.Process().memory_info().rss / MIB


def describe() -> dict[str, Any]:
    """The machine, for `run.json` and `doctor`."""
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu_count": os.cpu_count(),
        "memory_mib": round(psutil.virtual_memory().total / MIB),
        "gpus": [{"index": gpu.index, "name": gpu.name, "memory_mib": round(gpu.total_mib)} for gpu in gpus()],
    }


def _gpu(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    name = str(pynvml.nvmlDeviceGetName(handle))
    return Gpu(index, name, int(memory.used) / MIB, int(memory.total) / MIB, (int(major), int(minor)))
