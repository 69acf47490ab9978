"""A snapshot in the form another program reads: made on demand, once for all viewers, by the export of the run's task.

The export is a separate program, because it needs torch and the dashboard must not import it. Its files stay in the
run's `exports/`.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shared.launch.supervisor import ROOT, child_environment, python_module
from shared.run_folder.averages import file_stem
from shared.run_folder.records.export_format import ExportFormat
from shared.run_folder.run_dir import RunDir


@dataclass(frozen=True)
class Job:
    """A program that runs, has ended or has failed."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    started: float

    @classmethod
    def begin(cls, command: list[str]) -> Job:
        """Start a program; what it says of errors is kept."""
        output = tempfile.TemporaryFile()  # noqa: SIM115 - read once the program has ended
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
            cwd=ROOT,
            env=child_environment(None),
        )
        return cls(process, output, time.monotonic())

    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.started

    def error(self) -> str:
        """The error and its hint; without them the last line of output."""
        self.output.seek(0)
        lines = self.output.read().decode(errors="replace").strip().splitlines()
        errors = [line.partition(": ")[2] for line in lines if line.startswith(("error: ", "hint: "))]
        return "\n".join(errors or lines[-1:]) or f"exit code {self.process.returncode}"


class Exports:
    """The exports of this server, one at a time, because each loads torch into the memory that training uses."""

    def __init__(self) -> None:
        self._jobs: dict[Path, Job] = {}
        self._lock = threading.Lock()

    def start(self, run: RunDir, step: int, form: ExportFormat) -> None:
        """Start the export, unless the file exists or another export is running."""
        target = target_of(run, step, form)
        options = ("--step", step, "--format", form.name, "--output", target)
        with self._lock:
            if target.exists() or self.is_busy():
                return
            self._jobs[target] = Job.begin(python_module("tasks.export", run.path, *options))

    def is_busy(self) -> bool:
        """Whether an export is running."""
        return any(job.process.poll() is None for job in self._jobs.values())

    def running(self, target: Path) -> Job | None:
        """The job that is making `target`."""
        job = self._jobs.get(target)
        return job if job and job.process.poll() is None else None

    def failure(self, target: Path) -> str:
        """Why the last try to make `target` failed; empty if it did not."""
        job = self._jobs.get(target)
        return job.error() if job and job.process.poll() and not target.exists() else ""


EXPORTS = Exports()
"""Those of this server, whoever asked for them."""


def target_of(run: RunDir, step: int, form: ExportFormat) -> Path:
    """The file of an export."""
    return run.exports / f"{run.path.name}-{file_stem(step)}-{form.name}{form.ending}"
