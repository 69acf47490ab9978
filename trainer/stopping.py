"""Every way to be told to stop, as one question asked after each step: button, command, signal, lost supervisor."""

from __future__ import annotations

import signal
from types import FrameType

from shared import control, lifeline
from shared.records import Request
from shared.rundir import RunDir

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignal:
    """Collects the reason to stop. A second signal ends the process at once: published folders stay whole."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._seen: list[Request] = []
        self._reason: str | None = None
        control.ignore_before(run, control.session_started(run))
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        lifeline.watch(lambda: self.ask("the supervisor is gone"))

    def ask(self, reason: str) -> None:
        """Ask for a stop from within the trainer; the first reason stays."""
        self._reason = self._reason or reason

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

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self.ask(f"signal {signal.Signals(number).name}")
