"""What there is to do in a run, what rests for lack of memory, and the tables: all of evaluation but the model.

One evaluator has an agenda and a worker (`evaluator/loop.py`); a fleet has one agenda for all of its workers
(`evaluator/fleet/dispatch.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

from evaluator import work_queue
from evaluator.evaluate import skip
from evaluator.results_table import ResultsTable, publish_descriptions
from evaluator.run_mode import RunMode
from shared.config.schema import Config
from shared.files.publication import sweep
from shared.run_folder import pending, requests
from shared.run_folder.averages import label
from shared.run_folder.heartbeat import Status, snapshots_may_come
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.pending import BASE_MODEL, Work
from shared.run_folder.records.run_record import RunRecord
from shared.run_folder.run_dir import RunDir, steps_in, strength_of
from shared.run_folder.sharing.leases import drop_dead_claims

log = logging.getLogger(__name__)

DONE, NOTHING_TO_DO, TRY_AGAIN = 0, 3, 4
"""Exit codes of `--once`; `__main__` adds 5 for errors that trying again cannot cure."""
Outcome = Literal[0, 3, 4]
MAX_TRIES = 5
"""Attempts that run out of memory before the evaluation fails."""
RETRY_SECONDS = 60.0
REBUILD_SHARE = 0.2
"""Of the time, at most, goes into rebuilding tables while there is other work."""


class Told(Protocol):
    """What is said of a result."""

    @property
    def status(self) -> str:
        """`ok`, `failed` or `skipped`."""
        ...

    @property
    def reason(self) -> str:
        """Why it is not `ok`."""
        ...

    @property
    def seconds(self) -> Mapping[str, float]:
        """Stage → wall time."""
        ...

    @property
    def memory(self) -> Mapping[str, float]:
        """MiB at the peak."""
        ...


@dataclass
class Agenda:
    """The work of a run folder, for one evaluator or for many."""

    run: RunDir
    run_mode: RunMode
    status: Status
    metrics: MetricDescriptions
    """What these evaluators compute."""
    config: Config
    """The run's settings, with what holds for this call only."""
    _rebuilt: tuple[float, float] = (0.0, 0.0)
    """When the last rebuild of the tables ended (monotonic seconds), and how long it took."""
    _deferred: dict[Work, tuple[int, float]] = field(default_factory=dict[Work, tuple[int, float]])
    """Work that ran out of memory: how often, and when to try again (monotonic seconds)."""

    @cached_property
    def record(self) -> RunRecord:
        """The run's identity."""
        return self.run.read_record()

    @cached_property
    def results_table(self) -> ResultsTable:
        """The tables derived from all results."""
        return ResultsTable(self.run, retains=True)

    def begin(self) -> Outcome | None:
        """Settle what others have left; the exit code where nothing is to be evaluated, and no model to be loaded."""
        sweep(self.run.staging)
        drop_dead_claims(self.run)
        changed = not self.results_table.is_current()
        self.results_table.rebuild()
        if self.run_mode.once and not self.unfinished():
            return DONE if changed else NOTHING_TO_DO  # a finished run stays described as it was evaluated
        if publish_descriptions(self.run, self.metrics):
            self.results_table.rebuild()
        return None

    def end(self) -> None:
        """Leave no claim of who died meanwhile."""
        drop_dead_claims(self.run)
        self.status.update(message=self.idle_message([]))

    def unfinished(self) -> list[Work]:
        """What has no result yet, after settling what was asked for and noting what never will have pictures."""
        settings = self.config.evaluation
        self._settle()
        for step in sorted(pending.skipped(self.run, settings) & pending.without_result(self.run)):
            skip(self.run, self.record, step, f"evaluation.every is {settings.every}")
        return pending.unfinished(self.run, settings, trainer_lives=self._trainer_lives())

    def ready(self, works: list[Work]) -> list[Work]:
        """Those that nobody has claimed and that do not wait for memory."""
        return [work for work in work_queue.free(self.run, works) if not self.rests(work)]

    def what(self, work: Work) -> str:
        """What is being done, and how much of the kind still waits."""
        if strength := strength_of(work.kind):
            others = pending.at_other_strengths(self.run)
            return f"{self.name(work.step)} at strength {strength:g}, {max(0, len(others) - 1)} more waiting"
        again = " again" if work.kind == "confirmations" else ""
        return f"{self.name(work.step)}{again}, {len(self._waiting() - {work.step})} more waiting"

    def name(self, step: int) -> str:
        """As people read it; what is counted may become known after the evaluator has begun."""
        return f"{self.run.read_record().unit} {label(step)}"

    def waits_for_the_base_model(self, works: list[Work]) -> bool:
        """Another evaluator is at work on it; what comes after that can be shared."""
        return works == [Work(BASE_MODEL)] and not self.rests(works[0])

    def tell(self, work: Work, result: Told, where: str = "") -> None:
        """Log what came out."""
        kind, name = work.kind.removesuffix("s"), self.name(work.step)
        log.info(
            "%s of %s%s: %s %s %s %s", kind, name, where, result.status, result.reason, result.seconds, result.memory
        )
        if work.kind == "confirmations" and result.status == "failed":
            self.status.notice(f"{self.name(work.step)} could not be evaluated again: {result.reason}")

    def defer(self, work: Work) -> None:
        """Memory did not suffice: try again later."""
        self._deferred[work] = (self.tries(work) + 1, time.monotonic() + RETRY_SECONDS)
        text = f"{self.name(work.step)} is deferred: out of memory; tried again in {RETRY_SECONDS:.0f} s"
        log.warning(text)
        self.status.notice(text)

    def keep_tables(self) -> None:
        """Rebuild them after a result, unless that takes too large a share of the time, or another evaluator does it.

        Whoever finds nothing else to do makes them current, and whoever comes to work that the verdict chooses.
        """
        ended, took = self._rebuilt
        if time.monotonic() - ended < took * (1 / REBUILD_SHARE - 1):
            return
        begun = time.monotonic()
        if self.results_table.rebuild_if_free():
            self._rebuilt = time.monotonic(), time.monotonic() - begun

    def must_rebuild_for(self, works: list[Work]) -> bool:
        """Whether the tables must be made current before the first of these is done: a verdict that has not weighed
        every result could choose another snapshot for it."""
        return works[0].follows_the_verdict and not self.results_table.is_current()

    def is_patient(self, work: Work) -> bool:
        """Whether it may be tried once more if memory does not suffice."""
        return self.tries(work) + 1 < MAX_TRIES

    def tries(self, work: Work) -> int:
        """How often memory did not suffice."""
        return self._deferred.get(work, (0, 0.0))[0]

    def rests(self, work: Work) -> bool:
        """Whether it is not yet time to try again."""
        return self._deferred.get(work, (0, 0.0))[1] > time.monotonic()

    def idle_message(self, works: list[Work]) -> str:
        """What is done, and how much waits for something else than a free evaluator."""
        waiting = f", {len(works)} waiting for memory or with other evaluators" if works else ""
        return f"snapshots evaluated: {len(steps_in(self.run.evaluations) - {BASE_MODEL})}{waiting}"

    def _waiting(self) -> set[int]:
        """Steps still to be evaluated, or finalists to be evaluated again."""
        settings = self.config.evaluation
        due = pending.due(self.run, settings, trainer_lives=self._trainer_lives())
        return due or set(pending.without_average(self.run)) or pending.unconfirmed(self.run)

    def _why_unknown(self, step: int | None) -> str:
        name = f"{self.run.read_record().unit} {step}"
        if step is not None and step in self.run.deleted_snapshots():
            return f"the weights of {name} were deleted (train.snapshots_total_limit)"
        return f"there is no snapshot of {name}"

    def _trainer_lives(self) -> bool:
        return snapshots_may_come(self.run)

    def _settle(self) -> None:
        """Answer requests that have come true, or never can."""
        for request in requests.open_requests(self.run, "evaluate"):
            if not pending.is_known(self.run, request.step):
                requests.ignore(self.run, request, self._why_unknown(request.step))
            elif pending.work_of(self.run, request) is None:
                requests.answer(self.run, request, "done", request.step or BASE_MODEL)
