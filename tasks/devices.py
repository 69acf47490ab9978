"""What every torch program asks of a device: which one, how many cores, how precise, and how much memory is left."""

from __future__ import annotations

import os

import torch
from accelerate.utils.memory import should_reduce_batch_size

from shared.errors import DeviceError
from shared.machine import hardware


def share_cores(device: torch.device) -> None:
    """On a CPU, take half of the cores, all processes of a program together: trainer and evaluator share the machine.

    More threads than cores spin against each other: on two cores an evaluation beside training then took 25 times as
    long. The count never depends on who started the program, because sums, and so pictures, depend on it.
    OMP_NUM_THREADS overrides it.
    """
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2 // processes))


def choose_device(name: str) -> torch.device:
    """`auto` is the best this machine has: CUDA, then MPS, then CPU.

    Raises:
        DeviceError: the device named is not here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= available.get(device.type, 0):
        raise DeviceError(f"device {name} is not available", "see what this machine has by `python run.py doctor`")
    return device


def mixed_precision(setting: str) -> str:
    """`no`, `fp16` or `bf16`: as `model.mixed_precision` says, else the best of this machine."""
    if setting != "auto":
        return setting
    if not torch.cuda.is_available():
        return "no"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA's own error, or one of the texts other devices and libraries say it with."""
    is_worded = isinstance(error, Exception) and should_reduce_batch_size(error)
    return isinstance(error, torch.OutOfMemoryError) or is_worded


def memory_of(device: torch.device) -> str:
    """Whose memory a size fitted into: a device's name and bytes."""
    if device.type != "cuda":
        return device.type
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name}, {properties.total_memory} bytes"


def memory(device: torch.device) -> dict[str, float]:
    """What this process holds, MiB; what the system does not tell is absent."""
    resident = hardware.process_rss_mib()
    found = {} if resident is None else {"process_rss_mib": round(resident, 1)}
    if device.type == "cuda":
        found["gpu_allocated_mib"] = round(torch.cuda.memory_allocated(device) / hardware.MIB, 1)
        found["gpu_reserved_mib"] = round(torch.cuda.memory_reserved(device) / hardware.MIB, 1)
    return found


def used_mib(device: torch.device) -> float | None:
    """What all processes together hold of a GPU, or of its MIG slice; None: it does not say."""
    try:
        free, total = torch.cuda.mem_get_info(device)
    except RuntimeError:
        return None
    return round((total - free) / hardware.MIB, 1)
