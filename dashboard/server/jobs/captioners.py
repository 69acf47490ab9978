"""The programs that write captions, as the Data page starts them: one at a time, because each loads a model."""

from __future__ import annotations

import threading
from pathlib import Path

from dashboard.data.runs import runs_folder
from dashboard.server.jobs.exports import Job
from shared.data.editing import captioner_status
from shared.launch.supervisor import python_module


class Captioners:
    """Those of this server, whoever asked for them."""

    def __init__(self) -> None:
        self._jobs: dict[Path, Job] = {}
        self._lock = threading.Lock()

    def start(self, data: str, folder: Path, model: str, *, every: bool) -> bool:
        """Start one; False if one is at work."""
        with self._lock:
            known = captioner_status.read(folder)
            if (known and known.is_at_work) or any(job.process.poll() is None for job in self._jobs.values()):
                return False
            if before := self._jobs.pop(folder, None):
                before.output.close()
            options = ["--model", model, "--runs", runs_folder(), *(["--all"] if every else [])]
            self._jobs[folder] = Job.begin(python_module("tasks.captioning", data, *options))
            return True

    def is_starting(self, folder: Path) -> bool:
        """Whether a program of this server runs."""
        job = self._jobs.get(folder)
        return job is not None and job.process.poll() is None

    def failure(self, folder: Path) -> str:
        """Why the last one failed; empty if it did not."""
        job = self._jobs.get(folder)
        return job.error() if job and job.process.poll() else ""


CAPTIONERS = Captioners()
