"""Every reason to stop, checked after each step: a request, a signal, the time limit, the end of the supervisor."""

from __future__ import annotations

import math
import signal
import time
from collections import deque
from collections.abc import Sequence
from types import FrameType

from shared.errors import TrainingError
from shared.launch import end_signals, parent_watch
from shared.run_folder import requests
from shared.run_folder.records.request import Request
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import seconds_since

SIGNALS = end_signals.ending()
RECENT_STEPS = 20
SAVE_MARGIN = 2.0
"""The last save may take this many times as long as the longest one so far: disks and shared machines vary."""
FIRST_SAVE_BYTES_PER_SECOND = 20e6
FIRST_SAVE_SECONDS = 1.0
"""The assumed time of the first save: these seconds, plus its bytes at that rate."""


def is_time_up(elapsed: float, limit: float, longest_step: float, longest_save: float) -> bool:
    """Whether one more step would leave too little time for the last save. All in seconds.

    longest_save: of a snapshot and a checkpoint together.
    """
    return elapsed + longest_step + SAVE_MARGIN * longest_save > limit


def first_save_seconds(num_bytes: int) -> float:
    """The time that the first save of `num_bytes` may take."""
    return FIRST_SAVE_SECONDS + num_bytes / FIRST_SAVE_BYTES_PER_SECOND


def num_without_a_lower(losses: Sequence[float]) -> int:
    """How many losses there are since the lowest, the first of those that are equal."""
    known = [math.inf if math.isnan(loss) else loss for loss in losses]
    return len(known) - 1 - known.index(min(known)) if known else 0


class TimeLimit:
    """`stop.max_train_seconds` of this session, counted from the supervisor's start, or this process's without one."""

    def __init__(self, run: RunDir, limit: float | None) -> None:
        self.limit = limit
        self._started = time.monotonic() - seconds_since(requests.session_started(run))
        self._laps: deque[float] = deque([0.0], maxlen=RECENT_STEPS)
        self.rest()

    def rest(self) -> None:
        """Do not count the time since the last lap as a step: it was preparation, or a pause."""
        self._last = time.monotonic()

    def lap(self) -> None:
        """Record the end of a step, its validation and saves included."""
        now = time.monotonic()
        self._laps.append(now - self._last)
        self._last = now

    def is_up(self, longest_save: float) -> bool:
        """Whether training must end now to end in time."""
        elapsed = time.monotonic() - self._started
        return self.limit is not None and is_time_up(elapsed, self.limit, max(self._laps), longest_save)


class StopRequestedError(Exception):
    """A stop was requested before there was a step to save."""


class StopSignal:
    """Collects the reason to stop. A second signal ends the process at once; published folders stay complete."""

    def __init__(self, run: RunDir, *, answers: bool = True) -> None:
        """answers: whether this process reads and answers requests; only the main process does."""
        self._run, self._answers = run, answers
        self._seen: list[Request] = []
        self._reason: str | None = None
        self._error: TrainingError | None = None
        if answers:
            requests.ignore_before(run, requests.session_started(run))
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        parent_watch.watch(lambda: self.ask("the supervisor has ended"))

    def ask(self, reason: str) -> None:
        """Request a stop from within the trainer; the first reason is kept."""
        self._reason = self._reason or reason

    def fail(self, reason: str, hint: str) -> None:
        """Request a stop because training cannot continue; the exit code reports it, even after an earlier request."""
        self.ask(reason)
        self._error = self._error or TrainingError(reason, hint)

    def reason(self, step: int) -> str | None:
        """Why training should end after this step; None: continue. Answers `seen` to new requests."""
        for request in requests.open_requests(self._run) if self._answers else ():
            if request not in self._seen:
                self._seen.append(request)
                requests.answer(self._run, request, "seen", step)
                self.ask(f"requested by {request.by}")
        return self._reason

    def note(self, stage: requests.Stage, step: int) -> None:
        """Answer every open request, also those that arrived after the last step."""
        for request in requests.open_requests(self._run):
            requests.answer(self._run, request, stage, step)

    def raise_failure(self) -> None:
        """Raise the error that ended training, if there is one. Call it once everything is saved."""
        if self._error:
            raise self._error

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self.ask(f"signal {signal.Signals(number).name}")
