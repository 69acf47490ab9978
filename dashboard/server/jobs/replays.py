"""Verdicts computed by `python -m evaluator.replay RUN`.

A program of its own, because the dashboard imports no evaluator; it needs no torch. Of each `Replays` one at a time,
because the machine may be training.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from shared.launch.supervisor import ROOT, child_environment, python_module
from shared.run_folder.run_dir import RunDir

Ended = subprocess.CompletedProcess[bytes]

_log = logging.getLogger(__name__)


class Replays:
    """Those with the same options, one after the other, in a thread that ends when none is left."""

    def __init__(self, *options: str, seconds_between: float = 0.0) -> None:
        self._options = options
        self._seconds_between = seconds_between
        self._wanted: dict[Path, tuple[RunDir, Callable[[Ended], None]]] = {}
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None

    def ask(self, run: RunDir, then: Callable[[Ended], None]) -> None:
        """Replay a run soon, and call `then` in that thread; any number of times before that is once. A program that
        cannot be started is a line in the log, and `then` is not called.
        """
        with self._lock:
            self._wanted[run.path] = run, then
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="replays", daemon=True)
                self._worker.start()

    def _work(self) -> None:
        while wanted := self._next():
            run, then = wanted
            try:
                ended = subprocess.run(
                    python_module("evaluator.replay", run.path, *self._options),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    cwd=ROOT,
                    env=child_environment(None),
                    check=False,
                )
            except OSError as error:  # no memory for another process
                _log.warning("the verdict on %s was not computed: %s", run.path, error)
            else:
                then(ended)
            time.sleep(self._seconds_between)

    def _next(self) -> tuple[RunDir, Callable[[Ended], None]] | None:
        with self._lock:
            for path in list(self._wanted):
                return self._wanted.pop(path)
            self._worker = None
            return None
