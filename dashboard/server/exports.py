"""A snapshot in the form another program reads: made on demand, once for all viewers, by `tasks.text_to_image.export`.

That is a program of its own, for it needs torch and this one must not. What it made stays in the run's `exports/`.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from shared.launch.supervisor import ROOT, child_environment, python_module
from shared.run_folder.run_dir import RunDir

Form = Literal["kohya", "peft"]
ENDINGS: dict[Form, str] = {"kohya": ".safetensors", "peft": ".zip"}
DTYPE = "fp16"


@dataclass(frozen=True)
class Job:
    """An export at work, or one that failed."""

    process: subprocess.Popen[bytes]
    said: IO[bytes]
    started: float

    def seconds(self) -> float:
        """How long it has been at work."""
        return time.monotonic() - self.started

    def error(self) -> str:
        """The error and its hint; what it said last where it named none."""
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").strip().splitlines()
        told = [line.partition(": ")[2] for line in lines if line.startswith(("error: ", "hint: "))]
        return "\n".join(told or lines[-1:]) or f"exit code {self.process.returncode}"


class Exports:
    """The exports of this server, one at a time: each holds a model library in memory beside the training."""

    def __init__(self) -> None:
        self._jobs: dict[Path, Job] = {}
        self._lock = threading.Lock()

    def start(self, run: RunDir, step: int, form: Form) -> None:
        """Begin, unless it is there already or another one is at work."""
        target = target_of(run, step, form)
        options = ("--step", step, "--format", form, "--dtype", DTYPE, "--output", target)
        with self._lock:
            if target.exists() or self.is_busy():
                return
            said = tempfile.TemporaryFile()  # noqa: SIM115 - read once the program has ended
            process = subprocess.Popen(
                python_module("tasks.text_to_image.export", run.path, *options),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                cwd=ROOT,
                env=child_environment(None),
            )
            self._jobs[target] = Job(process, said, time.monotonic())

    def is_busy(self) -> bool:
        """Whether one is at work."""
        return any(job.process.poll() is None for job in self._jobs.values())

    def running(self, target: Path) -> Job | None:
        """The job that is making `target`."""
        job = self._jobs.get(target)
        return job if job and job.process.poll() is None else None

    def failure(self, target: Path) -> str:
        """Why the last try to make `target` failed; empty where it did not."""
        job = self._jobs.get(target)
        return job.error() if job and job.process.poll() and not target.exists() else ""


def target_of(run: RunDir, step: int, form: Form) -> Path:
    """The file an export makes; its precision is part of the name, for commands write others."""
    return run.exports / f"{run.path.name}-{step:06d}-{form}-{DTYPE}{ENDINGS[form]}"
