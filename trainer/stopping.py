"""Every way to be told to stop, as one question asked after each step: button, command, signal, lost supervisor, time."""

from __future__ import annotations

import signal
import time
from collections import deque
from types import FrameType

from shared import control, lifeline
from shared.errors import TrainingError
from shared.records import Request, seconds_since
from shared.rundir import RunDir

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RECENT_STEPS = 20
SAVE_MARGIN = 2.0
"""The last save is allowed this many times the longest one so far: disks and shared machines vary."""
UNMEASURED_SAVE_SECONDS = 5.0


def is_time_up(elapsed: float, limit: float, longest_step: float, longest_save: float) -> bool:
    """Whether one more step would leave too little time for the last save. All in seconds.

    longest_save: of a snapshot and a checkpoint together; 0 while none was measured.
    """
    return elapsed + longest_step + SAVE_MARGIN * (longest_save or UNMEASURED_SAVE_SECONDS) > limit


class TimeLimit:
    """`stop.max_train_seconds` of this session: from the start of the supervisor, or of this process where it is alone."""

    def __init__(self, run: RunDir, limit: float | None) -> None:
        self.limit = limit
        self._began = time.monotonic() - seconds_since(control.session_started(run))
        self._last = time.monotonic()
        self._steps: deque[float] = deque(maxlen=RECENT_STEPS)

    def is_up(self, longest_save: float) -> bool:
        """Asked once after each step: the time between two calls is what a step takes, validation included."""
        now = time.monotonic()
        self._steps.append(now - self._last)
        self._last = now
        return self.limit is not None and is_time_up(now - self._began, self.limit, max(self._steps), longest_save)


class StopSignal:
    """Collects the reason to stop. A second signal ends the process at once: published folders stay whole."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._seen: list[Request] = []
        self._reason: str | None = None
        self._error: TrainingError | None = None
        control.ignore_before(run, control.session_started(run))
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        lifeline.watch(lambda: self.ask("the supervisor is gone"))

    def ask(self, reason: str) -> None:
        """Ask for a stop from within the trainer; the first reason stays."""
        self._reason = self._reason or reason

    def fail(self, reason: str, hint: str) -> None:
        """Ask for a stop because training cannot go on; the exit code will say so."""
        if self._reason is None:
            self._reason, self._error = reason, TrainingError(reason, hint)

    def reason(self, step: int) -> str | None:
        """Why training should end after this step; None: go on. Notes newly arrived requests as seen."""
        for request in control.open_requests(self._run):
            if request not in self._seen:
                self._seen.append(request)
                control.answer(self._run, request, "seen", step)
                self.ask(f"asked by {request.by}")
        return self._reason

    def note(self, stage: control.Stage, step: int) -> None:
        """Answer every request still open, also those that arrived after the last step."""
        for request in control.open_requests(self._run):
            control.answer(self._run, request, stage, step)

    def raise_failure(self) -> None:
        """Raise the error training ended with, if it did: to be called once everything is saved."""
        if self._error:
            raise self._error

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self.ask(f"signal {signal.Signals(number).name}")
