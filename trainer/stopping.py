"""Every way to be told to stop, as one question asked after each step: button, command, signal, time, lost parent."""

from __future__ import annotations

import signal
import time
from collections import deque
from types import FrameType

from shared.errors import TrainingError
from shared.launch import parent_watch
from shared.run_folder import requests
from shared.run_folder.records import Request, seconds_since
from shared.run_folder.run_dir import RunDir

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RECENT_STEPS = 20
SAVE_MARGIN = 2.0
"""The last save is allowed this many times the longest one so far: disks and shared machines vary."""
FIRST_SAVE_BYTES_PER_SECOND = 20e6
FIRST_SAVE_SECONDS = 1.0
"""What a save is taken to need while none was measured: this, and its bytes at that rate."""


def is_time_up(elapsed: float, limit: float, longest_step: float, longest_save: float) -> bool:
    """Whether one more step would leave too little time for the last save. All in seconds.

    longest_save: of a snapshot and a checkpoint together.
    """
    return elapsed + longest_step + SAVE_MARGIN * longest_save > limit


def first_save_seconds(num_bytes: int) -> float:
    """What the first save of so many bytes may take."""
    return FIRST_SAVE_SECONDS + num_bytes / FIRST_SAVE_BYTES_PER_SECOND


class TimeLimit:
    """`stop.max_train_seconds` of this session: from the supervisor's start, or this process's where it is alone."""

    def __init__(self, run: RunDir, limit: float | None) -> None:
        self.limit = limit
        self._began = time.monotonic() - seconds_since(requests.session_started(run))
        self._laps: deque[float] = deque([0.0], maxlen=RECENT_STEPS)
        self.rest()

    def rest(self) -> None:
        """What was since the last lap is no step: preparing, or a pause."""
        self._last = time.monotonic()

    def lap(self) -> None:
        """A step has ended, with all that belongs to it."""
        now = time.monotonic()
        self._laps.append(now - self._last)
        self._last = now

    def is_up(self, longest_save: float) -> bool:
        """Whether training must end now to end in time."""
        elapsed = time.monotonic() - self._began
        return self.limit is not None and is_time_up(elapsed, self.limit, max(self._laps), longest_save)


class StopAskedError(Exception):
    """A stop was asked for before there was a step to save."""


class StopSignal:
    """Collects the reason to stop. A second signal ends the process at once: published folders stay whole."""

    def __init__(self, run: RunDir, *, answers: bool = True) -> None:
        """answers: this process reads requests and answers them; of several, only the main one does."""
        self._run, self._answers = run, answers
        self._seen: list[Request] = []
        self._reason: str | None = None
        self._error: TrainingError | None = None
        if answers:
            requests.ignore_before(run, requests.session_started(run))
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        parent_watch.watch(lambda: self.ask("the supervisor is gone"))

    def ask(self, reason: str) -> None:
        """Ask for a stop from within the trainer; the first reason stays."""
        self._reason = self._reason or reason

    def fail(self, reason: str, hint: str) -> None:
        """Ask for a stop because training cannot go on; the exit code will say so, whoever asked before."""
        self.ask(reason)
        self._error = self._error or TrainingError(reason, hint)

    def reason(self, step: int) -> str | None:
        """Why training should end after this step; None: go on. Notes newly arrived requests as seen."""
        for request in requests.open_requests(self._run) if self._answers else ():
            if request not in self._seen:
                self._seen.append(request)
                requests.answer(self._run, request, "seen", step)
                self.ask(f"asked by {request.by}")
        return self._reason

    def note(self, stage: requests.Stage, step: int) -> None:
        """Answer every request still open, also those that arrived after the last step."""
        for request in requests.open_requests(self._run):
            requests.answer(self._run, request, stage, step)

    def raise_failure(self) -> None:
        """Raise the error training ended with, if it did: to be called once everything is saved."""
        if self._error:
            raise self._error

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self.ask(f"signal {signal.Signals(number).name}")
