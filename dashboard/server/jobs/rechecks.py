"""The verdict of a run computed again, where an older version wrote it: `python -m evaluator.replay RUN --json`.

A program of its own, because the dashboard imports no evaluator; it needs no torch and writes nothing. One at a time,
and once for each verdict.
"""

from __future__ import annotations

import json
import logging
import subprocess
import threading
from collections import deque
from functools import cache
from pathlib import Path

from dashboard.data.reader import RunReader, version_of
from shared.launch.supervisor import ROOT, child_environment, python_module
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import parse_time

CODE = ("evaluator", "shared/statistics")
"""Folders of the code that decides."""

_log = logging.getLogger(__name__)
Key = tuple[Path, tuple[int, int]]


class Rechecks:
    """Those of this server."""

    def __init__(self) -> None:
        self._found: dict[Key, Best | None] = {}
        self._wanted: deque[tuple[Key, RunDir]] = deque()
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None

    def of(self, reader: RunReader, best: Best | None) -> Best | None:
        """What is found now; None: not known (yet), or this version's code wrote the verdict."""
        if best is None or parse_time(best.created).timestamp() >= code_changed():
            return None
        key = reader.run.best, version_of(reader.run.best)
        with self._lock:
            if key not in self._found:
                self._found[key] = None
                self._wanted.append((key, reader.run))
                if self._worker is None:
                    self._worker = threading.Thread(target=self._work, name="rechecks", daemon=True)
                    self._worker.start()
            return self._found[key]

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._worker = None
                    return
                key, run = self._wanted.popleft()
            self._found[key] = replayed(run)


def replayed(run: RunDir) -> Best | None:
    """The verdict by the code that is there now; None where it has none."""
    command = python_module("evaluator.replay", run.path, "--json")
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, cwd=ROOT, env=child_environment(None), check=False
    )
    try:
        found = json.loads(done.stdout)["best"]
        return Best.model_validate(found) if found else None
    except (ValueError, LookupError, TypeError):
        _log.warning("the verdict on %s was not computed: %s", run.path, done.stderr.decode(errors="replace"))
        return None


@cache
def code_changed() -> float:
    """When the code that decides was last changed here, in seconds since 1970."""
    return max(path.stat().st_mtime for folder in CODE for path in (ROOT / folder).rglob("*.py"))


RECHECKS = Rechecks()
"""Those of this server, whoever looks."""
