"""What is to be judged next: the base model first, then the newest snapshot, older ones when nothing newer waits.

The scan of the folder is the truth; file events only wake it earlier than the next rescan would.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from shared.claims import claimed_steps
from shared.rundir import RunDir, steps_in

BASE_MODEL = 0


def pending(run: RunDir) -> list[int]:
    """Steps without a result that no living evaluator is at work on, in the order they should be judged."""
    judged = steps_in(run.evaluations) | claimed_steps(run)
    if BASE_MODEL not in judged:
        return [BASE_MODEL]
    return sorted(run.snapshots_to_judge() - judged, reverse=True)


class _Wake(FileSystemEventHandler):
    """Sets an event whenever anything happens to the watched folder; what happened is for the scan to find out."""

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog's thread."""
        self._wake.set()


@contextmanager
def watching(run: RunDir, wake: threading.Event) -> Generator[None]:
    """Set `wake` on file events in the snapshot folder while the block runs."""
    observer = Observer()
    observer.schedule(_Wake(wake), str(run.snapshots))
    observer.start()
    try:
        yield
    finally:
        observer.stop()
        observer.join()
