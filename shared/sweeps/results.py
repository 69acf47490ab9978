"""What a trial's run folder tells of it: evaluated snapshots, the verdict so far, how far training is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.errors import RunFolderError
from shared.files.publication import read_manifest
from shared.run_folder.averages import is_average
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.pending import BASE_MODEL
from shared.run_folder.records.best import Best
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.run_dir import RunDir, steps_in
from shared.statistics.paired import PromptValues


@dataclass(frozen=True)
class Evaluated:
    """One snapshot of a trial, as it is compared."""

    evaluated: EvaluationResult | None
    references: Mapping[str, str] = field(default_factory=dict[str, str])
    """Pair id → digest of the real picture."""


@dataclass
class Results:
    """Read once each: a published result does not change."""

    run: RunDir
    _known: dict[int, EvaluationResult] = field(default_factory=dict[int, EvaluationResult])
    _references: dict[str, str] | None = None
    best: Best | None = None
    """The verdict so far."""
    composites: dict[int, PromptValues] = field(default_factory=dict[int, PromptValues])
    """Of snapshots that were compared; the sweep has one yardstick."""

    def refresh(self) -> bool:
        """Whether there are new results."""
        try:
            self.best = self.run.read_best()
            new = steps_in(self.run.evaluations) - self._known.keys()
            found = {step: result for step in new if (result := self.run.read_result(step))}
        except RunFolderError:  # damaged: the evaluator says so
            return False
        self._known |= found
        return bool(found)

    @property
    def steps(self) -> list[int]:
        """Snapshots with results, ascending; averages of snapshots are none."""
        trained = {step for step, result in self._known.items() if result.status == "ok" and step > BASE_MODEL}
        return sorted(step for step in trained if not is_average(step))

    @property
    def descriptions(self) -> MetricDescriptions:
        """What its numbers mean; without those that do not count in this run."""
        return self.run.read_metric_descriptions().without(self.best.not_counted if self.best else ())

    @property
    def base(self) -> EvaluationResult | None:
        """The base model's."""
        return self._known.get(BASE_MODEL)

    def at(self, step: int) -> Evaluated:
        """A snapshot, or the base model."""
        return Evaluated(self._known.get(step), self.references)

    @property
    def references(self) -> dict[str, str]:
        """Pair id → digest of the real picture it is evaluated by."""
        if self._references is None:
            manifest = read_manifest(self.run.references)
            files = manifest.files if manifest else ()
            self._references = {entry.name.removesuffix(".png"): entry.sha256 for entry in files}
        return self._references

    @property
    def passed_over(self) -> frozenset[int]:
        """Snapshots that may not be shipped."""
        return frozenset((*self.best.passed_over, *self.best.deleted)) if self.best else frozenset()
