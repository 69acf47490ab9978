"""What this machine offers Darkroom, and what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from shared.errors import ConfigError
from shared.launch.listener import listen
from shared.machine import hardware
from shared.models.base_model import POCKET_CLIP, POCKET_STABLE_DIFFUSION
from shared.run_folder.run_dir import LIBRARIES
from tasks.text_to_image.models import presets

EVENT_SECONDS = 3.0
LOW_DISK_GIB = 5.0


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    subject: str
    verdict: Literal["ok", "note", "problem"]
    text: str


def examine(output_dir: Path, host: str, port: int) -> list[Finding]:
    """Check hardware, versions, disk, file events, port and the embedded model."""
    return [
        _machine(),
        *_gpus(),
        *_presets(),
        _bitsandbytes(),
        Finding("libraries", "ok", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)),
        _disk(output_dir),
        _events(output_dir),
        _port(host, port),
        _pocket(),
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
    return findings or [Finding("GPU", "note", "no NVIDIA driver answers; everything runs on the CPU or MPS")]


def _presets() -> list[Finding]:
    """What `init` would choose for each family here."""
    gpu = next(iter(hardware.usable_gpus()), None)
    findings: list[Finding] = []
    titles: dict[presets.Family, str] = {"sd1": "SD 1.x", "sd2": "SD 2.x", "sdxl": "SDXL"}
    for family, what in titles.items():
        preset = presets.recommend(family, gpu)
        findings.append(Finding(f"preset {what}", "ok", f"{preset.reason}; {presets.describe(preset)}"))
    return findings


def _bitsandbytes() -> Finding:
    if importlib.util.find_spec("bitsandbytes"):
        return Finding("bitsandbytes", "ok", "installed: adamw8bit and quantised base models can be used on CUDA")
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


def _pocket() -> Finding:
    missing = [folder.name for folder in (POCKET_STABLE_DIFFUSION, POCKET_CLIP) if not folder.is_dir()]
    if missing:
        return Finding("pocket model", "problem", f"{', '.join(missing)} is missing; the checkout is incomplete")
    return Finding("pocket model", "ok", "embedded, no download needed")
