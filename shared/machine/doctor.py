"""What this machine offers Darkroom, and what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from shared.errors import ConfigError
from shared.launch.listener import listen
from shared.machine import hardware
from shared.machine.libraries import LIBRARIES

EVENT_SECONDS = 3.0
LOW_DISK_GIB = 5.0


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    subject: str
    verdict: Literal["ok", "note", "problem"]
    text: str


def examine(output_dir: Path, host: str, port: int, further: Sequence[Finding] = ()) -> list[Finding]:
    """Check hardware, versions, disk, file events and port. further: what tasks have found."""
    return [
        _machine(),
        *_gpus(),
        *_torchvision(),
        _bitsandbytes(),
        Finding("libraries", "ok", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)),
        _disk(output_dir),
        _events(output_dir),
        _port(host, port),
        *further,
    ]


def _machine() -> Finding:
    memory = psutil.virtual_memory()
    text = (
        f"{psutil.cpu_count()} CPU cores, {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB memory free"
    )
    return Finding("machine", "ok", text)


def _gpus() -> list[Finding]:
    findings = [
        Finding(f"GPU {gpu.index}", "ok", f"{gpu.name}, {gpu.free_mib:.0f} of {gpu.total_mib:.0f} MiB free")
        for gpu in hardware.gpus()
    ]
    return findings or [
        Finding("GPU", "note", "none of NVIDIA's, AMD's or Apple's answers; everything runs on the CPU")
    ]


def _torchvision() -> list[Finding]:
    """One that is built for CUDA, beside a torch for the CPU, fails when it is imported, and transformers with it."""
    try:
        torch, torchvision = (importlib.metadata.version(name) for name in ("torch", "torchvision"))
    except importlib.metadata.PackageNotFoundError:
        return []
    if torch.endswith("+cpu") and "+" not in torchvision:
        text = (
            f"{torchvision} is made for CUDA, torch {torch} for the CPU: importing it fails, and with it transformers; "
            f"install torchvision {torchvision}+cpu from the index that torch came from, or uninstall torchvision"
        )
        return [Finding("torchvision", "problem", text)]
    return [Finding("torchvision", "ok", torchvision)]


def _bitsandbytes() -> Finding:
    if importlib.util.find_spec("bitsandbytes"):
        return Finding("bitsandbytes", "ok", "installed: adamw8bit and quantised base models can be used")
    return Finding("bitsandbytes", "note", "not installed; adamw8bit and model.quantization need it")


def _disk(output_dir: Path) -> Finding:
    existing = next(folder for folder in (output_dir.resolve(), *output_dir.resolve().parents) if folder.exists())
    free = shutil.disk_usage(existing).free / 2**30
    return Finding("disk", "ok" if free >= LOW_DISK_GIB else "problem", f"{free:.1f} GiB free under {existing}")


def _events(output_dir: Path) -> Finding:
    """Whether file events arrive where runs are written; network and Drive folders often have none."""
    arrived = threading.Event()

    class Listener(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            arrived.set()

    parent = output_dir if output_dir.is_dir() else Path.cwd()
    with tempfile.TemporaryDirectory(dir=parent, prefix=".doctor-") as folder:
        observer = Observer()
        observer.schedule(Listener(), folder)
        observer.start()
        (Path(folder) / "probe").touch()
        seen = arrived.wait(EVENT_SECONDS)
        observer.stop()
        observer.join()
    if seen:
        return Finding("file events", "ok", f"arrive under {parent}")
    return Finding("file events", "note", f"do not arrive under {parent}; snapshots are found by scanning instead")


def _port(host: str, port: int) -> Finding:
    try:
        listener = listen(host, port)
    except ConfigError as error:
        return Finding("dashboard port", "problem", str(error))
    free = listener.port
    listener.close()
    if free == port or not port:
        return Finding("dashboard port", "ok", f"{free} is free on {host}")
    return Finding("dashboard port", "note", f"{port} is taken on {host}; {free} would be used")
