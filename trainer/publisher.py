"""Writes snapshots and checkpoints in the background: the training loop only waits for the copy to host memory."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from shared.errors import RunFolderError
from shared.files.publication import fsync, publish, read_manifest
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from trainer.checkpoint import Checkpoint, are_finite, is_finite, retain

log = logging.getLogger(__name__)


class Publisher:
    """One background thread, so that saves become visible in the order of their submission."""

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
        """The longest time of a snapshot plus that of a checkpoint so far; 0 before the first."""
        return sum(self._longest.values())

    def snapshot(
        self, step: int, weights: dict[str, Tensor], write: Callable[[Path], None], details: dict[str, Any]
    ) -> bool:
        """Publish `snapshots/step-N`; False: the weights hold NaN or infinity, and a notice reports it.

        write: fills its folder with these weights.
        """
        if not are_finite(weights.values()):
            self._notice(f"the snapshot of step {step} is not published: its weights are not finite")
            return False
        manifest = Manifest(kind="snapshot", run_id=self._run_id, step=step, details=details)
        self._submit(self._run.snapshot(step), manifest, write)
        return True

    def checkpoint(self, checkpoint: Checkpoint, details: dict[str, Any] | None = None) -> bool:
        """Publish `checkpoints/step-N`, then delete the oldest; False: it holds NaN or infinity and is not written."""
        if not is_finite(checkpoint):
            self._notice(f"the checkpoint of step {checkpoint.step} is not written: its state is not finite")
            return False
        manifest = Manifest(kind="checkpoint", run_id=self._run_id, step=checkpoint.step, details=details or {})
        self._submit(self._run.checkpoint(checkpoint.step), manifest, partial(self._write_checkpoint, checkpoint))
        self._saves.append(self._pool.submit(retain, self._run, self._limit))
        return True

    def raise_failures(self) -> None:
        """Raise the first error of the saves that have ended, so that a full disk stops training."""
        ended = [save for save in self._saves if save.done()]
        self._saves = [save for save in self._saves if not save.done()]
        for save in ended:
            save.result()

    def close(self) -> None:
        """Wait until every submitted save is published."""
        self._pool.shutdown(wait=True)
        self.raise_failures()

    def _write_checkpoint(self, checkpoint: Checkpoint, folder: Path) -> None:
        """Rows are appended without waiting for the disk. Those of the steps before a checkpoint are durable before it
        is: after a power cut, a resumed run has a row for every step."""
        for table in (self._run.train_csv, self._run.validation_csv, self._run.validation_examples_csv):
            if table.exists():
                fsync(table)
        checkpoint.write(folder)

    def _submit(self, target: Path, manifest: Manifest, write: Callable[[Path], None]) -> None:
        self._saves.append(self._pool.submit(self._publish, target, manifest, write))

    def _publish(self, target: Path, manifest: Manifest, write: Callable[[Path], None]) -> None:
        started = time.monotonic()
        if manifest.kind == "snapshot" and manifest.step in self._run.deleted_snapshots():
            log.info("%s was published before, and its weights deleted", target.relative_to(self._run.path))
            return
        try:
            published = publish(self._run.staging, target, manifest, write)
        except SafetensorError as error:
            raise _as_os_error(error, target) from error
        if published:
            log.info("published %s", target.relative_to(self._run.path))
        else:
            self._require_own(target)
        seconds = time.monotonic() - started
        self._longest[manifest.kind] = max(seconds, self._longest.get(manifest.kind, 0.0))

    def _require_own(self, target: Path) -> None:
        """Keep what this run published before a resume; refuse another run's folder of that name.

        Raises:
            RunFolderError: another run published it.
        """
        published = read_manifest(target)
        if published is None or published.run_id != self._run_id:
            raise RunFolderError(
                f"{target} was not published by this run", f"move {target} away, then run the same command to resume"
            )
        log.info("%s was published before", target.relative_to(self._run.path))


def _as_os_error(error: SafetensorError, target: Path) -> Exception:
    """safetensors reports an I/O error in its text only; callers must recognise a full disk by its error number."""
    match = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(match[1]), os.strerror(int(match[1])), str(target)) if match else error
