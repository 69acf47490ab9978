"""This machine and how much of it is in use. A number that cannot be measured is None, never a guess."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
from __future__ import annotations

import functools
import importlib.metadata
import itertools
import os
import platform
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import psutil
import pynvml

from shared.machine import torch_devices

MIB = 1 << 20


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA device as NVML sees it, or another one as torch does."""

    index: int
    name: str
    used_mib: float
    total_mib: float
    compute_capability: tuple[int, int] = (0, 0)
    """(8, 0) and later compute in bf16; (0, 0): unknown."""
    kind: Literal["cuda", "rocm", "mps"] = "cuda"

    @property
    def free_mib(self) -> float:
        """Free memory."""
        return self.total_mib - self.used_mib


@dataclass(frozen=True)
class _Device:
    """What NVML has a handle for: a GPU, or one MIG slice of it."""

    index: int
    """Of the GPU, in the order of the PCI bus."""
    gpu: Any
    names: tuple[str, ...]
    """What CUDA_VISIBLE_DEVICES may call it instead of its number."""
    slices: tuple[_Device, ...] = ()
    slice: Any = None


@functools.cache
def open_nvml() -> None:
    """Open NVML once per process, because opening takes longer than a query. A failure is not remembered.

    Raises:
        NVMLError: there is no driver.
    """
    pynvml.nvmlInit()


def gpus() -> list[Gpu]:
    """Every NVIDIA GPU that answers, else those that only torch knows of; empty without a driver."""
    return _measured(_devices()) or _known_to_torch()


def usable_gpus() -> list[Gpu]:
    """The devices torch would use, in its order: none with a CPU-only torch, else those CUDA_VISIBLE_DEVICES names.

    A torch for AMD's or Apple's cards tells itself which it would use.

    CUDA shows a process one MIG slice at most, and beside it nothing else.
    """
    return _known_to_torch() if torch_devices.may_have_some() else _measured(_usable())


def usable_handles() -> list[tuple[int, Any]]:
    """Number and NVML handle of each GPU of `usable_gpus`: temperature and power are those of a whole GPU."""
    return [(device.index, device.gpu) for device in _usable()]


def evaluator_gpu(num_gpus: int, num_training: int) -> int:
    """Which GPU `evaluation.device = "auto"` means: the first that no training process uses, else the first of all."""
    return num_training if num_gpus > num_training else 0


def process_rss_mib() -> float | None:
    """Resident memory of this process, MiB; None where the system does not tell."""
    try:
        return psutil.Process().memory_info().rss / MIB
    except psutil.Error:
        return None


def describe() -> dict[str, Any]:
    """The machine, for `run.json` and `doctor`."""
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu_count": os.cpu_count(),
        "memory_mib": round(psutil.virtual_memory().total / MIB),
        "gpus": [{"index": gpu.index, "name": gpu.name, "memory_mib": round(gpu.total_mib)} for gpu in gpus()],
    }


def _known_to_torch() -> list[Gpu]:
    """Of ROCm the capability says no more than whether it computes in bf16."""
    machine = psutil.virtual_memory()
    found: list[Gpu] = []
    for index, card in enumerate(torch_devices.ask()):
        if card["kind"] == "mps":  # memory that the machine has given to others is not free for the card
            total = float(card["total"] or machine.total)
            used = total - min(total, float(machine.available))
            found.append(Gpu(index, "Apple's GPU (MPS)", used / MIB, total / MIB, kind="mps"))
        else:
            total, free = float(card["total"]), float(card["free"])
            capability = (8, 0) if card["bf16"] else (7, 0)
            found.append(Gpu(index, str(card["name"]), (total - free) / MIB, total / MIB, capability, kind="rocm"))
    return found


def _devices() -> list[_Device]:
    """Every GPU in the order of the PCI bus."""
    try:
        open_nvml()
        return [_device(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []


def _usable() -> list[_Device]:
    """The devices torch would use, in its order."""
    if "+cpu" in importlib.metadata.version("torch"):
        return []
    devices, listed = _in_cuda_order(_devices()), os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = devices if listed is None else _named(devices, listed)
    visible = [device.slices[0] if device.slices else device for device in visible]
    return [device for device in visible if device.slice][:1] or visible


def _device(index: int) -> _Device:
    gpu = _query(None, pynvml.nvmlDeviceGetHandleByIndex, index)
    uuid = _query("", pynvml.nvmlDeviceGetUUID, gpu)
    in_slices = _query([0], pynvml.nvmlDeviceGetMigMode, gpu)[0]
    most = _query(0, pynvml.nvmlDeviceGetMaxMigDeviceCount, gpu) if in_slices else 0
    handles = (_query(None, pynvml.nvmlDeviceGetMigDeviceHandleByIndex, gpu, number) for number in range(most))
    slices = tuple(_Device(index, gpu, _slice_names(uuid, part), slice=part) for part in handles if part)
    return _Device(index, gpu, (uuid,), slices)


def _slice_names(gpu_uuid: str, part: Any) -> tuple[str, str]:
    """A MIG slice's UUID, and the name that older drivers use."""
    gpu_instance = _query(0, pynvml.nvmlDeviceGetGpuInstanceId, part)
    compute_instance = _query(0, pynvml.nvmlDeviceGetComputeInstanceId, part)
    return _query("", pynvml.nvmlDeviceGetUUID, part), f"MIG-{gpu_uuid}/{gpu_instance}/{compute_instance}"


def _in_cuda_order(devices: list[_Device]) -> list[_Device]:
    """As CUDA counts them: the fastest first, unless CUDA_DEVICE_ORDER is PCI_BUS_ID.

    CUDA does not document its measure of speed: cores × clock is used here. Equal cards are ordered by the bus.
    """
    if os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or not devices:
        return devices

    def speed(device: _Device) -> int:
        clock = _query(0, pynvml.nvmlDeviceGetMaxClockInfo, device.gpu, pynvml.NVML_CLOCK_SM)
        return _query(0, pynvml.nvmlDeviceGetNumGpuCores, device.gpu) * clock

    fastest = max(devices, key=speed)
    return [fastest, *(device for device in devices if device is not fastest)]


def _named(devices: list[_Device], listed: str) -> list[_Device]:
    """The devices that a list of numbers and beginnings of UUIDs selects, read as CUDA reads it.

    The first entry that names no device ends the list; a device named twice empties it.
    """
    entries = (_find(devices, entry.strip()) for entry in listed.split(","))
    named = list(itertools.takewhile(lambda device: device is not None, entries))
    return [device for device in named if device] if len({id(device) for device in named}) == len(named) else []


def _find(devices: list[_Device], entry: str) -> _Device | None:
    """The device of that number, or the only one whose UUID begins so."""
    if number := re.match(r"\+?\d+", entry):
        index = int(number[0])
        return devices[index] if index < len(devices) else None
    if not entry.startswith(("GPU-", "MIG-")):
        return None
    everything = [*devices, *(part for device in devices for part in device.slices)]
    matching = [device for device in everything if any(name.startswith(entry) for name in device.names)]
    return matching[0] if len(matching) == 1 else None


def _measured(devices: Iterable[_Device]) -> list[Gpu]:
    """The devices whose name and memory can be read."""
    return [gpu for device in devices if (gpu := _measure(device))]


def _measure(device: _Device) -> Gpu | None:
    handle = device.slice or device.gpu
    name, memory = _query("", pynvml.nvmlDeviceGetName, handle), _memory(handle)
    if not (name and memory):
        return None
    major, minor = _query((0, 0), pynvml.nvmlDeviceGetCudaComputeCapability, device.gpu)
    return Gpu(device.index, str(name), memory[0] / MIB, memory[1] / MIB, (int(major), int(minor)))


def _memory(handle: Any) -> tuple[int, int] | None:
    """Bytes in use and in all; None for a lost device. A chip without memory of its own shares the machine's."""
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return int(memory.used), int(memory.total)
    except pynvml.NVMLError as error:
        if getattr(error, "value", None) != pynvml.NVML_ERROR_NOT_SUPPORTED:
            return None
    machine = psutil.virtual_memory()
    return machine.total - machine.available, machine.total


def _query(default: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """NVML's answer, or `default` where it has none, as with old drivers and lost devices."""
    try:
        return function(*arguments)
    except pynvml.NVMLError:
        return default
