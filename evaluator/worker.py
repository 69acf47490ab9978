"""One resident model that evaluates whatever work it is given, under the work's claim."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from evaluator import gpu_memory
from evaluator.evaluate import Evaluator, skip
from shared.config.schema import Config
from shared.errors import ConfigError
from shared.machine import card_turns
from shared.run_folder import pending, requests
from shared.run_folder.heartbeat import Status
from shared.run_folder.pending import Work
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.run_dir import RunDir, strength_of
from shared.run_folder.sharing.leases import claimed

log = logging.getLogger(__name__)

Taken = EvaluationResult | Literal["out of memory"] | None
"""The published result; None: another evaluator has the work, or there is nothing to do."""


@dataclass
class Worker:
    """`build` loads models, which takes long: it is called when there is work for the first time."""

    run: RunDir
    status: Status
    config: Config
    """The run's settings, with what holds for this evaluator only."""
    build: Callable[[], Evaluator]
    goes_on: Callable[[], bool]
    """False once this program was told to end."""

    @cached_property
    def evaluator(self) -> Evaluator:
        """Of every snapshot."""
        return self.build()

    @cached_property
    def confirming_evaluator(self) -> Evaluator:
        """Of the finalists, again."""
        return self.evaluator.confirming()

    def take(self, work: Work, name: str, message: str, *, patient: bool) -> Taken:
        """Claim the work, evaluate it, publish the result.

        name: of the step, as people read it. message: what is being done. patient: where memory does not suffice,
        nothing is published, because the caller tries again.
        """
        with claimed(self.run, work.step, work.kind) as mine:
            if not mine or pending.is_done(self.run, work) or pending.is_given_up(self.run, work):
                return None
            self.status.update("evaluating", step=work.step, message=message)
            evaluator = self._evaluator_for(work)
            if evaluator is None:
                return None
            with self._turn(name, message, evaluator) as mine:
                if not mine:
                    return None
                device = evaluator.evaluation.device
                gpu_memory.limit(device, gpu_memory.expected_mib(self.run, device))
                result = evaluator.evaluate(work.step, patient=patient)
            if result is None:
                return "out of memory"
            if alarm := evaluator.leak_detector.alarm(result.memory.get("process_rss_mib", 0.0)):
                log.warning(alarm)
                self.status.notice(alarm)
            return result

    @contextmanager
    def _turn(self, name: str, message: str, evaluator: Evaluator) -> Generator[bool]:
        """The device to oneself, if `evaluation.turns` is set; False: told to end before the trainer left it."""
        if not self.config.evaluation.turns:
            yield True
            return
        evaluation = evaluator.evaluation
        if not gpu_memory.is_shared(self.run, evaluation.device):
            evaluation.wake()
            yield True
            return
        self.status.update(message=f"waits for the card: {message}")
        with card_turns.held(self.run, name, self._may_wait) as mine:
            self.status.update(message=message)
            if mine:
                evaluation.wake()
            try:
                yield mine
            finally:
                evaluation.rest()

    def _may_wait(self) -> bool:
        """Asked again and again, which counts as work: the trainer may load for long before it leaves the card."""
        self.status.update()
        return self.goes_on()

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
                reason = "what this task trains has no strength"
                skip(self.run, self.run.read_record(), work.step, reason, work.kind)
            return evaluator
        request = next(request for request in requests.requests(self.run, "evaluate") if work.kind.endswith(request.id))
        try:
            evaluator = self.evaluator.answering(work.kind, request.prompts)
        except ConfigError as error:
            requests.ignore(self.run, request, f"{error}: {error.hint}")
            return None
        if evaluator is None:
            requests.ignore(self.run, request, "nothing is drawn from prompts in this run")
        return evaluator
