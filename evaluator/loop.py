"""The loop of an evaluator: take the next work, evaluate it, rebuild the tables, wait. Many can share one run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from evaluator import gpu_memory, work_queue
from evaluator.evaluate import Evaluator, skip
from evaluator.results_table import ResultsTable, publish_descriptions
from evaluator.run_mode import RunMode
from shared.config.schema import Config
from shared.machine import card_turns
from shared.run_folder import pending, requests
from shared.run_folder.averages import label
from shared.run_folder.heartbeat import Status, snapshots_may_come
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.pending import BASE_MODEL, Work
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.run_record import RunRecord
from shared.run_folder.run_dir import RunDir, steps_in, strength_of
from shared.run_folder.sharing.leases import claimed, drop_dead_claims

log = logging.getLogger(__name__)

DONE, NOTHING_TO_DO, TRY_AGAIN = 0, 3, 4
"""Exit codes of `--once`; `__main__` adds 5 for errors that trying again cannot cure."""
Outcome = Literal[0, 3, 4]
MAX_TRIES = 5
"""Attempts that run out of memory before the evaluation fails."""
RETRY_SECONDS = 60.0


@dataclass
class EvaluationLoop:
    """`build` loads models, which takes long: it is called when there is work for the first time."""

    run: RunDir
    run_mode: RunMode
    status: Status
    metrics: MetricDescriptions
    """What this evaluator computes."""
    build: Callable[[], Evaluator]
    config: Config
    """The run's settings, with what holds for this evaluator only."""
    _deferred: dict[Work, tuple[int, float]] = field(default_factory=dict)
    """Work that ran out of memory: how often, and when to try again (monotonic seconds)."""

    @cached_property
    def record(self) -> RunRecord:
        """The run's identity."""
        return self.run.read_record()

    @cached_property
    def results_table(self) -> ResultsTable:
        """The tables derived from all results."""
        return ResultsTable(self.run)

    @cached_property
    def evaluator(self) -> Evaluator:
        """Of every snapshot."""
        return self.build()

    @cached_property
    def confirming_evaluator(self) -> Evaluator:
        """Of the finalists, again."""
        return self.evaluator.confirming()

    def work(self) -> Outcome:
        """Until told to end; with run_mode to drain, until nothing is left that can be done."""
        drop_dead_claims(self.run)
        changed = not self.results_table.is_current()
        self.results_table.rebuild()
        if self.run_mode.once and not self._unfinished():
            return DONE if changed else NOTHING_TO_DO  # a finished run stays described as it was evaluated
        if publish_descriptions(self.run, self.metrics):
            self.results_table.rebuild()
        _ = self.evaluator  # loaded before the first snapshot comes
        outcome = self._until_told()
        drop_dead_claims(self.run)
        self.status.update(message=self._idle_message([]))
        return outcome

    def _until_told(self) -> Outcome:
        while self.run_mode.current != "end":
            self.run_mode.wake.clear()
            works = self._unfinished()
            ready = [work for work in work_queue.free(self.run, works) if not self._rests(work)]
            if ready:
                self._take(ready[0])
            elif not self.results_table.is_current():
                self.results_table.rebuild()  # another evaluator died before it did
            elif self.run_mode.current == "drain" and not works:
                return DONE
            elif self.run_mode.once and not self._waits_for_the_base_model(works):
                log.warning("not everything is evaluated: %s", self._idle_message(works))
                return TRY_AGAIN
            else:
                self.status.update("idle", message=self._idle_message(works))
                self.run_mode.wake.wait(self.config.evaluation.rescan_seconds)
        return DONE

    def _unfinished(self) -> list[Work]:
        """What has no result yet, after settling what was asked for and noting what never will have pictures."""
        settings = self.config.evaluation
        self._settle()
        for step in sorted(pending.skipped(self.run, settings) & pending.without_result(self.run)):
            skip(self.run, self.record, step, f"evaluation.every is {settings.every}")
        return pending.unfinished(self.run, settings, trainer_lives=self._trainer_lives())

    def _waiting(self) -> set[int]:
        """Steps still to be evaluated, or finalists to be evaluated again."""
        settings = self.config.evaluation
        due = pending.due(self.run, settings, trainer_lives=self._trainer_lives())
        return due or set(pending.without_average(self.run)) or pending.unconfirmed(self.run)

    def _what(self, work: Work) -> str:
        """What is being done, and how much of the kind still waits."""
        if strength := strength_of(work.kind):
            others = pending.at_other_strengths(self.run)
            return f"{self._name(work.step)} at strength {strength:g}, {max(0, len(others) - 1)} more waiting"
        again = " again" if work.kind == "confirmations" else ""
        return f"{self._name(work.step)}{again}, {len(self._waiting() - {work.step})} more waiting"

    def _name(self, step: int) -> str:
        """As people read it; what is counted may become known after the evaluator has begun."""
        return f"{self.run.read_record().unit} {label(step)}"

    def _trainer_lives(self) -> bool:
        return snapshots_may_come(self.run)

    def _waits_for_the_base_model(self, works: list[Work]) -> bool:
        """Another evaluator is at work on it; what comes after that can be shared."""
        return works == [Work(BASE_MODEL)] and not self._rests(works[0])

    def _take(self, work: Work) -> None:
        with claimed(self.run, work.step, work.kind) as mine:
            if not mine or pending.is_done(self.run, work) or pending.is_given_up(self.run, work):
                return
            self.status.update("evaluating", step=work.step, message=self._what(work))
            evaluator = self._evaluator_for(work)
            if evaluator is None:
                return
            with self._turn(work, evaluator) as mine:
                if not mine:
                    return
                device = evaluator.evaluation.device
                gpu_memory.limit(device, gpu_memory.expected_mib(self.run, device))
                result = evaluator.evaluate(work.step, patient=self._tries(work) + 1 < MAX_TRIES)
            if result is None:
                self._defer(work)
            else:
                self.results_table.rebuild()
                self._tell(work, result, evaluator)

    @contextmanager
    def _turn(self, work: Work, evaluator: Evaluator) -> Generator[bool]:
        """The device to oneself, if `evaluation.turns` is set; False: told to end before the trainer left it."""
        if not self.config.evaluation.turns:
            yield True
            return
        evaluation = evaluator.evaluation
        if not gpu_memory.is_shared(self.run, evaluation.device):
            evaluation.wake()
            yield True
            return
        self.status.update(message=f"waits for the card: {self._what(work)}")
        with card_turns.held(self.run, self._name(work.step), lambda: self.run_mode.current != "end") as mine:
            self.status.update(message=self._what(work))
            if mine:
                evaluation.wake()
            try:
                yield mine
            finally:
                evaluation.rest()

    def _evaluator_for(self, work: Work) -> Evaluator | None:
        answered = [
            one for one in requests.open_requests(self.run, "evaluate") if pending.work_of(self.run, one) == work
        ]
        for request in answered:
            requests.answer(self.run, request, "seen", work.step)
        if work.kind == "evaluations":
            return self.evaluator
        if work.kind == "confirmations":
            return self.confirming_evaluator
        if strength := strength_of(work.kind):
            evaluator = self.evaluator.at_strength(work.kind, strength)
            if evaluator is None:
                skip(self.run, self.record, work.step, "what this task trains has no strength", work.kind)
            return evaluator
        request = next(request for request in requests.requests(self.run, "evaluate") if work.kind.endswith(request.id))
        evaluator = self.evaluator.answering(work.kind, request.prompts)
        if evaluator is None:
            requests.ignore(self.run, request, "nothing is drawn from prompts in this run")
        return evaluator

    def _settle(self) -> None:
        """Answer requests that have come true, or never can."""
        for request in requests.open_requests(self.run, "evaluate"):
            if not pending.is_known(self.run, request.step):
                requests.ignore(
                    self.run, request, f"there is no snapshot of {self.run.read_record().unit} {request.step}"
                )
            elif pending.work_of(self.run, request) is None:
                requests.answer(self.run, request, "done", request.step or BASE_MODEL)

    def _tell(self, work: Work, result: EvaluationResult, evaluator: Evaluator) -> None:
        kind, name = work.kind.removesuffix("s"), self._name(work.step)
        log.info("%s of %s: %s %s %s %s", kind, name, result.status, result.reason, result.seconds, result.memory)
        if work.kind == "confirmations" and result.status == "failed":
            self.status.notice(f"{self._name(work.step)} could not be evaluated again: {result.reason}")
        if alarm := evaluator.leak_detector.alarm(result.memory.get("process_rss_mib", 0.0)):
            log.warning(alarm)
            self.status.notice(alarm)

    def _defer(self, work: Work) -> None:
        self._deferred[work] = (self._tries(work) + 1, time.monotonic() + RETRY_SECONDS)
        text = f"{self._name(work.step)} is deferred: out of memory; tried again in {RETRY_SECONDS:.0f} s"
        log.warning(text)
        self.status.notice(text)

    def _tries(self, work: Work) -> int:
        return self._deferred.get(work, (0, 0.0))[0]

    def _rests(self, work: Work) -> bool:
        return self._deferred.get(work, (0, 0.0))[1] > time.monotonic()

    def _idle_message(self, works: list[Work]) -> str:
        waiting = f", {len(works)} waiting for memory or with other evaluators" if works else ""
        return f"snapshots evaluated: {len(steps_in(self.run.evaluations) - {BASE_MODEL})}{waiting}"
