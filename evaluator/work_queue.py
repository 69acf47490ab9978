"""What is to be evaluated next, in which order, and what is skipped. The scan of the folders is the truth.

The base model comes before everything, because every other result is compared with it. File events only wake the
evaluator earlier than the next rescan would.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from shared.config.schema import EvaluationConfig
from shared.run_folder import requests
from shared.run_folder.leases import claimed_steps
from shared.run_folder.pending import BASE_MODEL, unconfirmed
from shared.run_folder.records import Request
from shared.run_folder.run_dir import ResultKind, RunDir, steps_in


@dataclass(frozen=True)
class Work:
    """One result to be made."""

    step: int
    kind: ResultKind = "evaluations"


def unfinished(run: RunDir, settings: EvaluationConfig, *, trainer_lives: bool) -> list[Work]:
    """Everything without a result, in the order it should be evaluated, whoever is at work on it.

    Until the base model has a result, of either kind, it is all there is to do; then comes what a person asked for. The
    finalists are evaluated again only when training is over and every snapshot has its result.
    """
    if BASE_MODEL not in steps_in(run.evaluations):
        return [Work(BASE_MODEL)]
    asked = [work for request in requests.open_requests(run, "evaluate") if (work := work_of(run, request))]
    wanted = waiting(run, settings, trainer_lives=trainer_lives)
    rest = [Work(step) for step in sorted(wanted, reverse=settings.order == "newest")]
    if not (asked or wanted or trainer_lives):
        again = unconfirmed(run)
        rest = [Work(step, "confirmations") for step in sorted({BASE_MODEL} if BASE_MODEL in again else again)]
    return list(dict.fromkeys([*asked, *rest]))


def waiting(run: RunDir, settings: EvaluationConfig, *, trainer_lives: bool) -> set[int]:
    """Snapshots without a result that shall have one."""
    return run.snapshots_to_evaluate() - skipped(run, settings, so_far=trainer_lives) - steps_in(run.evaluations)


def work_of(run: RunDir, request: Request) -> Work | None:
    """What a request for an evaluation asks for; None: it is done, or there is no such snapshot."""
    work = Work(
        step=request.step if request.step is not None else -1,
        kind=f"{run.requested.name}/{request.id}" if request.prompts else "evaluations",
    )
    known = {BASE_MODEL} | run.snapshots_to_evaluate()
    return work if work.step in known and not is_done(run, work) else None


def is_done(run: RunDir, work: Work) -> bool:
    """Whether there is a result; that a snapshot was skipped is none to who asks for it."""
    if work.step not in steps_in(run.path / work.kind):
        return False
    result = run.read_result(work.step, work.kind)
    return result is None or result.status != "skipped"


def skipped(run: RunDir, settings: EvaluationConfig, *, so_far: bool = False) -> set[int]:
    """Snapshots between every `settings.every`-th, counted from the first; never the last, but `so_far`, while a later
    one may come, not even that is evaluated."""
    steps = sorted(run.snapshots_to_evaluate())
    asked = {request.step for request in requests.open_requests(run, "evaluate") if not request.prompts}
    due = {*steps[settings.every - 1 :: settings.every], *([] if so_far else steps[-1:]), *asked}
    return set(steps) - due


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
