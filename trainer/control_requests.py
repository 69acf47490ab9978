"""Requests that do not end a training run: publish a snapshot now, pause, resume."""

from __future__ import annotations

from shared.run_folder import requests
from shared.run_folder.records.request import Request, RequestKind
from shared.run_folder.run_dir import RunDir


class ControlRequests:
    """Reads requests after each step and answers them. A pause is kept in memory only: a new session trains."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._paused = False
        self._snapshots: list[tuple[Request, int]] = []

    def wants_snapshot(self, step: int) -> bool:
        """Whether a request asks for a snapshot of this step, whatever the interval says."""
        new = self._new("snapshot-now")
        for request in new:
            requests.answer(self._run, request, "seen", step)
            self._snapshots.append((request, step))
        return bool(new)

    def is_paused(self, step: int) -> bool:
        """Whether to pause after this step. Pause and resume requests are applied in the order of their creation."""
        new = [*self._new("pause"), *self._new("resume")]
        for request in sorted(new, key=lambda request: request.created):
            self._paused = request.kind == "pause"
            requests.answer(self._run, request, "seen", step)
            requests.answer(self._run, request, "done", step)
        return self._paused

    def settle(self) -> None:
        """Answer `done` to every request whose snapshot is published by now."""
        for request, step in list(self._snapshots):
            if self._run.snapshot(step).exists() or step in self._run.deleted_snapshots():
                requests.answer(self._run, request, "done", step)
                self._snapshots.remove((request, step))

    def close(self) -> None:
        """Once everything is saved: answer the remaining requests, with the reason if one was not carried out."""
        self.settle()
        for request, step in self._snapshots:
            requests.ignore(self._run, request, f"the snapshot of step {step} could not be published")
        for kind in ("snapshot-now", "pause", "resume"):
            for request in requests.open_requests(self._run, kind):
                requests.ignore(self._run, request, "training has ended")

    def _new(self, kind: RequestKind) -> list[Request]:
        pending_ids = {request.id for request, _ in self._snapshots}
        return [request for request in requests.open_requests(self._run, kind) if request.id not in pending_ids]
