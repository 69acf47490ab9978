"""One trial at work: started, watched, stopped, its end told from its run folder and its exit code."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from shared.run_folder import requests
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.log_errors import error_at_end
from shared.run_folder.run_dir import RunDir
from shared.sweeps.places.place import Place, Started
from shared.sweeps.results import Results

BY = "the sweep"
MAX_RESTARTS = 2
"""Of a trial that was killed; each resumes from its last save."""
LOG_BYTES = 64 * 1024


@dataclass
class Trial:
    """Its run folder may not be there yet."""

    number: int
    config: Path
    log: Path
    results: Results
    place: Place
    started: Started | None = None
    restarts: int = 0
    log_start: int = 0
    begun: float = field(default_factory=time.monotonic)

    @property
    def run(self) -> RunDir:
        """Its folder."""
        return self.results.run

    def is_held(self) -> bool:
        """Whether another `run.py` still works in its folder: one of a sweep that was killed saves and ends."""
        return self.run.record.is_file() and is_alive(read_status(self.run, "supervisor"))

    def start(self) -> None:
        """Begin or resume."""
        self.log_start = self.log.stat().st_size if self.log.is_file() else 0
        self.started = self.place.start(self.config, self.log)

    def ask_stop(self) -> None:
        """Ask it to save and end without evaluating what is left. Called until it has ended: the trainer answers the
        first request, its `run.py` the next one."""
        if self.run.record.is_file() and is_alive(read_status(self.run, "supervisor")):
            requests.submit_stop(self.run, BY)

    def poll(self) -> int | None:
        """Its exit code; None while it runs, and where it was killed and is to be started again."""
        code = self.started.poll() if self.started else None
        if code is not None and code < 0 and self.restarts < MAX_RESTARTS:
            self.restarts += 1
            self.started = None
            return None
        return code

    def last_words(self, code: int) -> str:
        """Why it has failed."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(self.log_start, file.seek(0, 2) - LOG_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            text = ""
        lines = [line.removeprefix("• ") for line in text.splitlines()]
        start = max((place for place, line in enumerate(lines) if "error: " in line), default=None)
        said = error_at_end("\n".join(lines))
        if said:
            return f"exit code {code}: {said.message}" + (f"; {said.cure}" if said.cure else "")
        if start is not None:
            return f"exit code {code}: {lines[start].partition('error: ')[2]}"
        return f"exit code {code}; see {self.log}"

    def progress(self) -> tuple[int, int]:
        """(steps done, steps in all); zeros before it has begun."""
        trainer = read_status(self.run, "trainer")
        return (trainer.step, trainer.total) if trainer else (0, 0)
