"""Writes snapshots and checkpoints in the background: the training loop waits for the copy to host memory only."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from shared.errors import RunFolderError
from shared.files.publication import publish, read_manifest
from shared.run_folder.records import Manifest
from shared.run_folder.run_dir import RunDir
from trainer.checkpoint import Checkpoint, are_finite, is_finite, retain

log = logging.getLogger(__name__)


class Publisher:
    """One background thread, so saves become visible in the order they were asked for."""

    def __init__(
        self,
        run: RunDir,
        run_id: str,
        checkpoints_total_limit: int,
        notice: Callable[[str], None] = log.error,
    ) -> None:
        self._run, self._run_id, self._limit, self._notice = run, run_id, checkpoints_total_limit, notice
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="publisher")
        self._saves: list[Future[None]] = []
        self._longest: dict[str, float] = {}

    @property
    def longest_save_seconds(self) -> float:
        """What a snapshot and a checkpoint have taken at most, together; 0 before the first."""
        return sum(self._longest.values())

    def snapshot(
        self, step: int, weights: dict[str, Tensor], write: Callable[[Path], None], details: dict[str, Any]
    ) -> bool:
        """Publish `snapshots/step-N`; False: the weights hold NaN or infinity, it is refused, loudly.

        write: fills its folder with these weights.
        """
        if not are_finite(weights.values()):
            self._notice(f"the snapshot of step {step} is not published: its weights are not finite")
            return False
        manifest = Manifest(kind="snapshot", run_id=self._run_id, step=step, details=details)
        self._submit(self._run.snapshot(step), manifest, write)
        return True

    def checkpoint(self, checkpoint: Checkpoint, details: dict[str, Any] | None = None) -> bool:
        """Publish `checkpoints/step-N`, then let the oldest go; False: it holds NaN or infinity and is refused."""
        if not is_finite(checkpoint):
            self._notice(f"the checkpoint of step {checkpoint.step} is not kept: its state is not finite")
            return False
        manifest = Manifest(kind="checkpoint", run_id=self._run_id, step=checkpoint.step, details=details or {})
        self._submit(self._run.checkpoint(checkpoint.step), manifest, checkpoint.write)
        self._saves.append(self._pool.submit(retain, self._run, self._limit))
        return True

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
        started = time.monotonic()
        try:
            published = publish(self._run.staging, target, manifest, write)
        except SafetensorError as error:
            raise _named(error, target) from error
        if published:
            log.info("published %s", target.relative_to(self._run.path))
        else:
            self._require_ours(target)
        seconds = time.monotonic() - started
        self._longest[manifest.kind] = max(seconds, self._longest.get(manifest.kind, 0.0))

    def _require_ours(self, target: Path) -> None:
        """A name this run published before a resume stays; another run's folder in its place would hide our work."""
        published = read_manifest(target)
        if published is None or published.run_id != self._run_id:
            raise RunFolderError(f"{target} was not published by this run", "move it away; the same command goes on")
        log.info("%s was published before", target.relative_to(self._run.path))


def _named(error: SafetensorError, target: Path) -> Exception:
    """safetensors tells of an I/O error in its text alone: a full disk has to be known as one."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1])), str(target)) if found else error
