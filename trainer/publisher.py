"""Writes snapshots and checkpoints in the background: the training loop waits for the copy to host memory only."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from shared.diffusion import lora
from shared.publication import publish
from shared.records import Manifest
from shared.rundir import RunDir
from trainer.checkpoint import Checkpoint, retain

log = logging.getLogger(__name__)


class Publisher:
    """One background thread, so saves become visible in the order they were asked for."""

    def __init__(self, run: RunDir, run_id: str, checkpoints_total_limit: int) -> None:
        self._run, self._run_id, self._limit = run, run_id, checkpoints_total_limit
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="publisher")
        self._saves: list[Future[None]] = []

    def snapshot(self, step: int, weights: lora.State, metadata: dict[str, Any], details: dict[str, Any]) -> None:
        """Publish `snapshots/step-N`; weights with NaN or infinity are refused, loudly."""
        if not lora.is_finite(weights):
            log.error("snapshot of step %d is not published: its weights are not finite", step)
            return
        manifest = Manifest(kind="snapshot", run_id=self._run_id, step=step, details=details)
        self._submit(self._run.snapshot(step), manifest, lambda folder: lora.write(folder, weights, metadata))

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Publish `checkpoints/step-N`, then let the oldest go."""
        manifest = Manifest(kind="checkpoint", run_id=self._run_id, step=checkpoint.step)
        self._submit(self._run.checkpoint(checkpoint.step), manifest, checkpoint.write)
        self._saves.append(self._pool.submit(retain, self._run, self._limit))

    def raise_failures(self) -> None:
        """Raise the first error of a save that has ended: a full disk stops training instead of being missed."""
        ended = [save for save in self._saves if save.done()]
        self._saves = [save for save in self._saves if not save.done()]
        for save in ended:
            save.result()

    def close(self) -> None:
        """Wait until everything asked for is published."""
        self._pool.shutdown(wait=True)
        self.raise_failures()

    def _submit(self, target: Path, manifest: Manifest, write: Callable[[Path], None]) -> None:
        self._saves.append(self._pool.submit(self._publish, target, manifest, write))

    def _publish(self, target: Path, manifest: Manifest, write: Callable[[Path], None]) -> None:
        if publish(self._run.staging, target, manifest, write):
            log.info("published %s", target.relative_to(self._run.path))
        else:
            log.info("%s was published before", target.relative_to(self._run.path))
