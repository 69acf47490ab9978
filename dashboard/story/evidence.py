"""Everything that the parts of the first screen are told from, read once for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Literal

from dashboard.data.reader import RunReader
from dashboard.story.gains import Gains, gains
from dashboard.story.progress.backlog import Backlog, backlog
from dashboard.story.progress.programs import Programs, read_programs
from dashboard.text.language import say
from shared.run_folder.metric_descriptions import Column
from shared.run_folder.pending import BASE_MODEL
from shared.run_folder.records.best import Best
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.run_folder.run_dir import ResultKind
from shared.statistics.paired import share_one_prompt


@dataclass(frozen=True)
class Evidence:
    """Of one run, at one time."""

    reader: RunReader
    now: datetime
    zone: tzinfo
    """In which times are told."""
    programs: Programs
    best: Best | None
    rows: dict[int, dict[str, Any]]
    """Step → its row of `metrics.csv`."""
    results: dict[int, EvaluationResult]
    """Step → what was drawn and scored."""
    without: dict[int, tuple[Literal["failed", "skipped"], str]]
    """Step with another result → whether it failed or was skipped, and why; one that cannot be read has failed."""
    gains: Gains
    backlog: Backlog

    @property
    def base(self) -> str:
        """What snapshots are compared with: `the base model`."""
        return say(self.reader.descriptions.words.base)

    @property
    def unit(self) -> str:
        """One of what differences are averaged by: `prompt`; where all pairs have the same one, each pair counts."""
        base = self.results.get(BASE_MODEL)
        words = self.reader.descriptions.words
        return words.pair if base and share_one_prompt(base.samples) else words.prompt

    @property
    def has_references(self) -> bool:
        """Whether some prompt has a real picture to compare with."""
        return any(sample.has_reference for sample in self._drawn)

    @property
    def has_sources(self) -> bool:
        """Whether some prompt is an instruction, by which pictures are made from others."""
        return any(sample.num_sources for sample in self._drawn)

    @property
    def losses(self) -> tuple[Column, ...]:
        """What is weighed for some prompt: some compare with a reference, some stand in where there is none."""
        kinds = {sample.has_reference for sample in self._drawn} or {True}
        return tuple(
            column
            for column in self.reader.descriptions.losses
            if any(column.counts_for(has_reference=kind) for kind in kinds)
        )

    @property
    def _drawn(self) -> tuple[Sample, ...]:
        """What one step drew: all draw the same prompts."""
        return next((result.samples for result in self.results.values()), ())

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more: training has ended and nothing is left to evaluate, or nobody is at
        work."""
        return not self.programs.live or (not self.programs.snapshots_may_come and self.backlog.is_empty)


def gather(reader: RunReader, now: datetime, zone: tzinfo, steps: Iterable[int] | None = None) -> Evidence:
    """What the run folder says now. steps: those whose results are read; None: all that are evaluated."""
    programs, best = read_programs(reader.run), reader.best()
    results: dict[int, EvaluationResult] = {}
    without: dict[int, tuple[Literal["failed", "skipped"], str]] = {}
    for step in (*reader.evaluated_steps(), *reader.averages()) if steps is None else steps:
        result = reader.result(step)
        if result is None:
            if problem := reader.damaged.get(reader.run.evaluation(step) / "result.json"):
                without[step] = ("failed", str(problem))
        elif result.status == "ok":
            results[step] = result
        else:
            without[step] = (result.status, result.reason)
    return Evidence(
        reader,
        now,
        zone,
        programs,
        best,
        reader.rows(),
        results,
        without,
        gains(reader, results.get(BASE_MODEL)),
        backlog(reader, programs, best, now),
    )


def read_result(reader: RunReader, step: int, kind: ResultKind) -> EvaluationResult | None:
    """None where there is none to show."""
    result = reader.result(step, kind)
    return result if result and result.status == "ok" else None
