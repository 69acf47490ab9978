"""The device of a torch program: which one, how many cores, which precision, how much memory."""

from __future__ import annotations

import os

import torch
from accelerate.utils.memory import should_reduce_batch_size

from shared.errors import DeviceError
from shared.machine import hardware


def share_cores(device: torch.device) -> None:
    """On a CPU, use half of the cores for all processes of a program: trainer and evaluator share the machine.

    More threads than cores wait for each other by spinning: on two cores, an evaluation during training took 25 times
    as long. The number of threads is the same however the program is started, because sums, and therefore pictures,
    depend on it. OMP_NUM_THREADS overrides it.
    """
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(half_of_cores(num_local_processes()))


def half_of_cores(processes: int) -> int:
    """Threads of each of so many processes that leave the other half of this machine's cores free; at least 1."""
    return max(1, (os.cpu_count() or 1) // 2 // processes)


def num_local_processes() -> int:
    """Processes of this program on this machine, as launchers tell it."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is the best of this machine: CUDA, then MPS, then CPU.

    Raises:
        DeviceError: there is no device of that name, or this machine does not have it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"{name!r} is no device", "name auto, cpu, cuda, cuda:1 or mps") from None
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= available.get(device.type, 0):
        raise DeviceError(f"device {name} is not available", "run `python run.py doctor` to list the devices")
    return device


def mixed_precision(setting: str) -> str:
    """`no`, `fp16` or `bf16`: the value of `model.mixed_precision`; for `auto`, the best of this machine."""
    if setting != "auto":
        return setting
    if not torch.cuda.is_available():
        return "no"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA's own error, or one of the error texts of other devices and libraries."""
    has_known_text = isinstance(error, Exception) and should_reduce_batch_size(error)
    return isinstance(error, torch.OutOfMemoryError) or has_known_text


def is_lost(error: BaseException) -> bool:
    """Whether a GPU has failed: after such an error nothing that this process asks of it succeeds.

    A library that has no room for its workspace (`CUBLAS_STATUS_ALLOC_FAILED`) fails with the same first words.
    """
    text = str(error)
    is_memory = is_out_of_memory(error) or "out of memory" in text or "_STATUS_" in text
    return isinstance(error, RuntimeError) and "CUDA error: " in text and not is_memory


def lost(error: BaseException) -> DeviceError:
    """What is said of it: the error's first line, and what to do."""
    first = str(error).partition("\n")[0]
    hint = "see whether `nvidia-smi` lists the GPU, restart the machine if not; then run the same command again"
    return DeviceError(f"the GPU has failed: {first}", hint)


def memory_of(device: torch.device) -> str:
    """Identifies the memory of a device: its name and bytes."""
    if device.type != "cuda":
        return device.type
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name}, {properties.total_memory} bytes"


def memory(device: torch.device) -> dict[str, float]:
    """The memory of this process, MiB; values that the system does not report are absent."""
    resident = hardware.process_rss_mib()
    mib = {} if resident is None else {"process_rss_mib": round(resident, 1)}
    if device.type == "cuda":
        mib["gpu_allocated_mib"] = round(torch.cuda.memory_allocated(device) / hardware.MIB, 1)
        mib["gpu_reserved_mib"] = round(torch.cuda.memory_reserved(device) / hardware.MIB, 1)
    return mib


def used_mib(device: torch.device) -> float | None:
    """The memory of a GPU, or of its MIG slice, that all processes use together, MiB; None: not reported."""
    try:
        free, total = torch.cuda.mem_get_info(device)
    except RuntimeError:
        return None
    return round((total - free) / hardware.MIB, 1)
