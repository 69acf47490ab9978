"""One evaluation, from a published snapshot to a published result.

A failed evaluation is a result too, with status `failed` and the reason; the run continues with the next snapshot.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from evaluator.gpu_memory import LeakDetector
from shared.errors import DarkroomError, LostFileError, RunFolderError
from shared.files.publication import publish, read_manifest, remove
from shared.run_folder.averages import ends, is_average, label
from shared.run_folder.pending import BASE_MODEL
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.records.run_record import RunRecord
from shared.run_folder.run_dir import ResultKind, RunDir
from tasks.devices import is_lost, is_out_of_memory, lost
from tasks.protocol import Evaluation, EvaluationOutput

log = logging.getLogger(__name__)


@dataclass
class _Work:
    """The state of one evaluation."""

    digest: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    output: EvaluationOutput = field(default_factory=EvaluationOutput)


@dataclass(frozen=True)
class Evaluator:
    """Loads a snapshot, lets the task evaluate it, publishes the result."""

    run: RunDir
    record: RunRecord
    evaluation: Evaluation
    leak_detector: LeakDetector
    kind: ResultKind = "evaluations"

    def confirming(self) -> Evaluator:
        """The evaluator that confirms the best snapshots."""
        return replace(self, evaluation=self.evaluation.further(), kind="confirmations")

    def answering(self, kind: ResultKind, prompts: Sequence[str]) -> Evaluator | None:
        """The evaluator of prompts that the user requested; None: this task has no prompts."""
        evaluation = self.evaluation.with_prompts(prompts)
        return replace(self, evaluation=evaluation, kind=kind) if evaluation else None

    def at_strength(self, kind: ResultKind, strength: float) -> Evaluator | None:
        """The evaluator of the same inputs at another strength; None: this task has no strength."""
        evaluation = self.evaluation.at_strength(strength)
        return replace(self, evaluation=evaluation, kind=kind) if evaluation else None

    def evaluate(self, step: int, *, patient: bool = False) -> EvaluationResult | None:
        """Evaluate a step and publish the result; step 0 is the base model.

        None: out of memory, and nothing is published, because a `patient` caller tries again later.

        Raises:
            DeviceError: the GPU has failed, which says nothing of this snapshot; nothing is published.
        """
        work, result = _Work(), None
        try:
            self._evaluate(step, work)
            result = self._result(step, work, "ok", "")
        except (DarkroomError, RuntimeError, ValueError) as error:
            if is_lost(error):
                raise lost(error) from error
            if not (patient and is_out_of_memory(error)):
                is_expected = isinstance(error, DarkroomError)
                log.error("%s could not be evaluated: %s", self._name(step), error, exc_info=not is_expected)
                result = self._result(step, work, "failed", str(error) or type(error).__name__)
                result = result.model_copy(update={"lost": isinstance(error, LostFileError)})
        if result is not None:
            self._publish(result, work)
        return result

    def _name(self, step: int) -> str:
        """As people read it; what is counted may become known after the evaluator has begun."""
        return f"{self.run.read_record().unit} {label(step)}"

    def _evaluate(self, step: int, work: _Work) -> None:
        with work.output.timed("swap"):
            self._swap(step, work)
        self.evaluation.evaluate(step, self.kind, work.output)

    def _swap(self, step: int, work: _Work) -> None:
        if step == BASE_MODEL:
            work.training = {"epoch": 0}
            self.evaluation.swap(None)
            return
        if is_average(step):
            self._average(step)
        manifest = read_manifest(self.run.snapshot(step))
        if manifest is None:
            raise RunFolderError(f"the snapshot of {self._name(step)} no longer exists")
        work.training = _training(manifest)
        work.digest = self.evaluation.swap(self.run.snapshot(step))

    def _average(self, number: int) -> None:
        """Publish the average of the evaluated snapshots from one step to another, unless it is."""
        if self.run.snapshot(number).exists():
            return
        first, last = ends(number) or (0, 0)
        steps = [step for step in sorted(self.run.snapshots_to_evaluate()) if first <= step <= last]
        steps = [step for step in steps if (result := self.run.read_result(step)) and result.status == "ok"]
        if len(steps) < 2:
            raise RunFolderError(f"fewer than two evaluated snapshots lie from {self._name(first)} to {last}")
        manifest = Manifest(kind="snapshot", run_id=self.record.run_id, step=number, details={"averaged": steps})
        self.run.averages.mkdir(exist_ok=True)

        def write(folder: Path) -> None:
            manifest.details.update(self.evaluation.average(steps, folder))

        publish(self.run.staging, self.run.snapshot(number), manifest, write)

    def _result(self, step: int, work: _Work, status: Literal["ok", "failed"], reason: str) -> EvaluationResult:
        return EvaluationResult(
            run_id=self.record.run_id,
            step=step,
            status=status,
            reason=reason,
            snapshot_digest=work.digest,
            training=work.training,
            generation=self.evaluation.describe(),
            encoders=work.output.encoders,
            missing=work.output.missing,
            seconds=work.output.seconds,
            memory=work.output.memory,
            anchors=work.output.anchors,
            samples=tuple(work.output.samples),
            probes=tuple(work.output.probes),
            figures=work.output.figures,
            exhibits=tuple(work.output.exhibits),
        )

    def _publish(self, result: EvaluationResult, work: _Work) -> None:
        def write(folder: Path) -> None:
            work.output.write(folder, result)
            result.write(folder / "result.json")

        manifest = Manifest(kind="evaluation", run_id=self.record.run_id, step=result.step)
        target = self.run.result(self.kind, result.step)
        target.parent.mkdir(parents=True, exist_ok=True)
        before = self.run.read_result(result.step, self.kind)
        if before and before.status == "skipped":  # a request asks for it now
            remove(self.run.staging, target)
        if not publish(self.run.staging, target, manifest, write):
            log.warning("%s was evaluated by another evaluator first; this result is dropped", self._name(result.step))


def skip(run: RunDir, record: RunRecord, step: int, reason: str, kind: ResultKind = "evaluations") -> None:
    """Publish that a snapshot is skipped: a result without pictures."""
    manifest = read_manifest(run.snapshot(step))
    training = _training(manifest) if manifest else {}
    result = EvaluationResult(run_id=record.run_id, step=step, status="skipped", reason=reason, training=training)
    result_manifest = Manifest(kind="evaluation", run_id=record.run_id, step=step)
    target = run.result(kind, step)
    target.parent.mkdir(parents=True, exist_ok=True)
    publish(run.staging, target, result_manifest, lambda folder: result.write(folder / "result.json"))


def _training(manifest: Manifest) -> dict[str, Any]:
    """Epoch, loss and learning rate that the trainer recorded with the snapshot; of an average, what it is of."""
    facts = {key: manifest.details[key] for key in ("averaged", "truncation") if key in manifest.details}
    return facts or {key: manifest.details.get(key) for key in ("epoch", "loss", "learning_rate")}
