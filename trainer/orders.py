"""What a person may ask of a training run without ending it: a snapshot now, a pause, and to go on."""

from __future__ import annotations

from shared import control
from shared.records import Request, RequestKind
from shared.rundir import RunDir


class Orders:
    """Reads requests after each step and answers them. A pause is held in memory only: a new session trains."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._paused = False
        self._snapshots: list[tuple[Request, int]] = []

    def wants_snapshot(self, step: int) -> bool:
        """Whether this step is to be published whatever the cadence says."""
        new = self._new("snapshot-now")
        for request in new:
            control.answer(self._run, request, "seen", step)
            self._snapshots.append((request, step))
        return bool(new)

    def is_paused(self, step: int) -> bool:
        """Whether to hold after this step; a pause and a resume count in the order they were asked for."""
        asked = [*self._new("pause"), *self._new("resume")]
        for request in sorted(asked, key=lambda request: request.created):
            self._paused = request.kind == "pause"
            control.answer(self._run, request, "seen", step)
            control.answer(self._run, request, "done", step)
        return self._paused

    def settle(self, *, final: bool) -> None:
        """Say `done` of every snapshot that is published by now; at the end, why the others are not."""
        for request, step in list(self._snapshots):
            if self._run.snapshot(step).exists():
                control.answer(self._run, request, "done", step)
            elif final:
                control.ignore(self._run, request, f"the snapshot of step {step} could not be published")
            else:
                continue
            self._snapshots.remove((request, step))
        if final:
            self._ignore_the_rest()

    def _ignore_the_rest(self) -> None:
        for kind in control.REQUEST_KINDS:
            for request in control.open_requests(self._run, kind) if kind != "stop" else ():
                control.ignore(self._run, request, "training has ended")

    def _new(self, kind: RequestKind) -> list[Request]:
        known = {request.id for request, _ in self._snapshots}
        return [request for request in control.open_requests(self._run, kind) if request.id not in known]
