"""Counting votes: best.json is replaced as an evaluator would replace it. Seldom: whoever votes does so every few
seconds."""

from __future__ import annotations

import logging

from dashboard.server.jobs.replays import Ended, Replays
from shared.run_folder.run_dir import RunDir

SECONDS_BETWEEN = 8.0
COUNTED = (0, 3, 4)
"""Exit codes: 3 and 4 are verdicts too."""

_log = logging.getLogger(__name__)


class Recounts:
    """Those of this server."""

    def __init__(self, seconds_between: float = SECONDS_BETWEEN) -> None:
        self._replays = Replays("--write", "--json", seconds_between=seconds_between)

    def ask(self, run: RunDir) -> None:
        """Count the votes of a run soon."""

        def told(ended: Ended) -> None:
            if ended.returncode not in COUNTED:
                _log.warning("the votes of %s were not counted: %s", run.path, ended.stderr.decode(errors="replace"))

        self._replays.ask(run, told)


RECOUNTS = Recounts()
"""Those of this server, whoever voted."""
