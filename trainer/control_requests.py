"""What a person may ask of a training run without ending it: a snapshot now, a pause, and to go on."""

from __future__ import annotations

from shared.run_folder import requests
from shared.run_folder.records import Request, RequestKind
from shared.run_folder.run_dir import RunDir


class ControlRequests:
    """Reads requests after each step and answers them. A pause is held in memory only: a new session trains."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._paused = False
        self._snapshots: list[tuple[Request, int]] = []

    def wants_snapshot(self, step: int) -> bool:
        """Whether this step is to be published whatever the interval says."""
        new = self._new("snapshot-now")
        for request in new:
            requests.answer(self._run, request, "seen", step)
            self._snapshots.append((request, step))
        return bool(new)

    def is_paused(self, step: int) -> bool:
        """Whether to hold after this step; a pause and a resume count in the order they were asked for."""
        asked = [*self._new("pause"), *self._new("resume")]
        for request in sorted(asked, key=lambda request: request.created):
            self._paused = request.kind == "pause"
            requests.answer(self._run, request, "seen", step)
            requests.answer(self._run, request, "done", step)
        return self._paused

    def settle(self) -> None:
        """Say `done` of every snapshot that is published by now."""
        for request, step in list(self._snapshots):
            if self._run.snapshot(step).exists():
                requests.answer(self._run, request, "done", step)
                self._snapshots.remove((request, step))

    def close(self) -> None:
        """Everything is saved: settle what is left, with the reason where it was not carried out."""
        self.settle()
        for request, step in self._snapshots:
            requests.ignore(self._run, request, f"the snapshot of step {step} could not be published")
        for kind in ("snapshot-now", "pause", "resume"):
            for request in requests.open_requests(self._run, kind):
                requests.ignore(self._run, request, "training has ended")

    def _new(self, kind: RequestKind) -> list[Request]:
        known = {request.id for request, _ in self._snapshots}
        return [request for request in requests.open_requests(self._run, kind) if request.id not in known]
