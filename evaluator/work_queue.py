"""Which of the pending work (`shared/run_folder/pending.py`) is free, and what wakes an evaluator to look for it.

File events only wake it earlier than the next rescan would.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from shared.run_folder.pending import Work
from shared.run_folder.run_dir import RunDir
from shared.run_folder.sharing.leases import claimed_steps


def free(run: RunDir, works: list[Work]) -> list[Work]:
    """The works that no living evaluator has claimed."""
    claimed = {Work(step, kind) for kind in {work.kind for work in works} for step in claimed_steps(run, kind)}
    return [work for work in works if work not in claimed]


class _Wake(FileSystemEventHandler):
    """Calls `wake` on every event in the watched folder; the scan then finds out what has changed."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog's thread."""
        self._wake()


@contextmanager
def watching(run: RunDir, wake: Callable[[], object]) -> Generator[None]:
    """Call `wake` on file events in the snapshot folder while the block runs."""
    observer = Observer()
    observer.schedule(_Wake(wake), str(run.snapshots))
    observer.start()
    try:
        yield
    finally:
        observer.stop()
        observer.join()
