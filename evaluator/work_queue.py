"""The order in which evaluators take pending work (`shared/run_folder/pending.py`), and which work is free.

The base model comes first, because every other result is compared with it. File events only wake the evaluator earlier
than the next rescan would.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from shared.config.schema import EvaluationConfig
from shared.run_folder.leases import claimed_steps
from shared.run_folder.pending import BASE_MODEL, Work, due, requested, unconfirmed, without_result
from shared.run_folder.run_dir import RunDir


def unfinished(run: RunDir, settings: EvaluationConfig, *, trainer_lives: bool) -> list[Work]:
    """Everything without a result, in the order of evaluation, also what other evaluators are working on.

    Until the base model has a result, successful or not, it is the only work; then come requests. The best snapshots
    are evaluated again only after training has ended and every snapshot has a result.
    """
    if BASE_MODEL in without_result(run):
        return [Work(BASE_MODEL)]
    by_request, wanted = requested(run), due(run, settings, trainer_lives=trainer_lives)
    rest = [Work(step) for step in sorted(wanted, reverse=settings.order == "newest")]
    if not (by_request or wanted or trainer_lives):
        again = unconfirmed(run)
        rest = [Work(step, "confirmations") for step in sorted({BASE_MODEL} if BASE_MODEL in again else again)]
    return list(dict.fromkeys([*by_request, *rest]))


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
