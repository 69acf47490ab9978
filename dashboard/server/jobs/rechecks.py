"""The verdict of a run computed again where an older version wrote it, once for each verdict. Nothing is written."""

from __future__ import annotations

import json
import logging
from functools import cache
from pathlib import Path

from dashboard.data.reader import RunReader, version_of
from dashboard.server.jobs.replays import Ended, Replays
from shared.launch.supervisor import ROOT
from shared.run_folder.records.best import Best
from shared.run_folder.times import parse_time

CODE = ("evaluator", "shared/statistics")
"""Folders of the code that decides."""

_log = logging.getLogger(__name__)


class Rechecks:
    """Those of this server."""

    def __init__(self) -> None:
        self._replays = Replays("--json")
        self._found: dict[tuple[Path, tuple[int, int]], Best | None] = {}

    def of(self, reader: RunReader, best: Best | None) -> Best | None:
        """What is found now; None: not known (yet), or this version's code wrote the verdict."""
        if best is None or parse_time(best.created).timestamp() >= code_changed():
            return None
        run = reader.run
        key = run.best, version_of(run.best)

        def told(ended: Ended) -> None:
            self._found[key] = _verdict(run.path, ended)

        if key not in self._found:
            self._found[key] = None
            self._replays.ask(run, told)
        return self._found[key]


def _verdict(run: Path, ended: Ended) -> Best | None:
    try:
        found = json.loads(ended.stdout)["best"]
        return Best.model_validate(found) if found else None
    except (ValueError, LookupError, TypeError):
        _log.warning("the verdict on %s was not computed: %s", run, ended.stderr.decode(errors="replace"))
        return None


@cache
def code_changed() -> float:
    """When the code that decides was last changed here, in seconds since 1970."""
    return max(path.stat().st_mtime for folder in CODE for path in (ROOT / folder).rglob("*.py"))


RECHECKS = Rechecks()
"""Those of this server, whoever looks."""
