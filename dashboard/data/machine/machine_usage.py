"""This machine at this moment: processors, memory, disk. Measured only while somebody looks.

What is kept with the run is `system.csv`, written by `shared.machine.recorder`.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


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


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below; what vanishes meanwhile counts nothing."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total
