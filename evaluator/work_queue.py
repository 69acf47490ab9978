"""In which order evaluators take what waits (`shared/run_folder/pending.py`), and who is at work on it.

The base model comes before everything, because every other result is compared with it. File events only wake the
evaluator earlier than the next rescan would.
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
    """Everything without a result, in the order it should be evaluated, whoever is at work on it.

    Until the base model has a result, of either kind, it is all there is to do; then comes what a person asked for. The
    finalists are evaluated again only when training is over and every snapshot has its result.
    """
    if BASE_MODEL in without_result(run):
        return [Work(BASE_MODEL)]
    asked, wanted = requested(run), due(run, settings, trainer_lives=trainer_lives)
    rest = [Work(step) for step in sorted(wanted, reverse=settings.order == "newest")]
    if not (asked or wanted or trainer_lives):
        again = unconfirmed(run)
        rest = [Work(step, "confirmations") for step in sorted({BASE_MODEL} if BASE_MODEL in again else again)]
    return list(dict.fromkeys([*asked, *rest]))


def free(run: RunDir, works: list[Work]) -> list[Work]:
    """Those that no living evaluator is at work on."""
    taken = {Work(step, kind) for kind in {work.kind for work in works} for step in claimed_steps(run, kind)}
    return [work for work in works if work not in taken]


class _Wake(FileSystemEventHandler):
    """Calls whenever anything happens to the watched folder; what happened is for the scan to find out."""

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
