"""Counting votes: `python -m evaluator.replay RUN --write`, which replaces best.json as an evaluator would.

A program of its own, because the dashboard imports no evaluator. One at a time, and seldom: whoever votes does so every
few seconds, on a machine that may be training.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from pathlib import Path

from shared.launch.supervisor import ROOT, child_environment, python_module
from shared.run_folder.run_dir import RunDir

SECONDS_BETWEEN = 8.0
OPTIONS = ("--write", "--json")
COUNTED = (0, 3, 4)
"""Exit codes: 3 and 4 are verdicts too."""

_log = logging.getLogger(__name__)


class Recounts:
    """Those of this server."""

    def __init__(self, seconds_between: float = SECONDS_BETWEEN) -> None:
        self._seconds_between = seconds_between
        self._wanted: dict[Path, RunDir] = {}
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None

    def ask(self, run: RunDir) -> None:
        """Count the votes of a run soon; any number of times before that is once."""
        with self._lock:
            self._wanted[run.path] = run
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="recounts", daemon=True)
                self._worker.start()

    def _work(self) -> None:
        while run := self._next():
            done = subprocess.run(
                python_module("evaluator.replay", run.path, *OPTIONS),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=ROOT,
                env=child_environment(None),
                check=False,
            )
            if done.returncode not in COUNTED:
                _log.warning("the votes of %s were not counted: %s", run.path, done.stderr.decode(errors="replace"))
            time.sleep(self._seconds_between)

    def _next(self) -> RunDir | None:
        with self._lock:
            for path in list(self._wanted):
                return self._wanted.pop(path)
            self._worker = None
            return None


RECOUNTS = Recounts()
"""Those of this server, whoever voted."""
