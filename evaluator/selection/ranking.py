"""Which snapshot to ship, and whether it beats the base model. Pure: evaluated rows in, numbers and words out."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from evaluator.selection.bands import composite_level, metric_level
from evaluator.selection.choice import (
    Selection,
    choice,
    findings,
    no_recommendation,
    passed_over,
    unguarded,
)
from evaluator.selection.ending.averages import windows
from evaluator.selection.held_out_losses import Validated
from evaluator.selection.summary import Drawn, Summary, summarize
from evaluator.selection.trend import Trend
from shared.run_folder.averages import is_average
from shared.run_folder.metric_descriptions import Column, Guard, MetricDescriptions
from shared.run_folder.phrase import Phrase, joined, phrase
from shared.run_folder.records.evaluation_result import Anchors, Sample
from shared.run_folder.records.exhibit import Figure
from shared.statistics.composite import is_scaled, mix, scales_of
from shared.statistics.paired import LEVEL, Estimate, estimate, share_one_prompt

GUARD_TOLERANCE = 0.5
"""A snapshot fails a guard when its number is surely worse than both step 0's and the real picture's, by more than this
many units. A concept that the guard's encoder does not know makes the number of the true picture worse too.

The unit is what the real pictures lose with others' captions: half of it is half of all that the prompt can do."""
MIN_DIFFERENCE = 0.1
"""Of the composite, from which on it matters; unless a config says otherwise."""

Preference = Literal["best", "earliest"]


@dataclass(frozen=True)
class Ranking:
    """Everything the evaluations so far say. Built by `rank`."""

    summaries: tuple[Summary, ...]
    """By step, step 0 first."""
    metrics: MetricDescriptions
    weights: dict[str, float]
    """Losses in use → share of the composite, sum 1 over those of prompts with a reference, and over those of prompts
    without one; empty when no loss has a scale."""
    scales: dict[str, float]
    """Metric → what counts as one unit of it; see `shared.statistics.composite`."""
    prefer: Preference = "best"
    min_difference: float = MIN_DIFFERENCE
    """Of the composite: a smaller one does not matter."""
    one_prompt: bool = False
    """All pairs have the same caption: nothing is known of other captions."""
    no_references: bool = False
    """No prompt has a real picture to compare with."""
    missing: Mapping[str, str] = field(default_factory=dict[str, str])
    """Column → why step 0 has no number of it."""
    deleted: frozenset[int] = frozenset()
    """Steps whose weights were deleted: their numbers count, and they cannot be shipped."""

    @property
    def is_unmeasured(self) -> bool:
        """No metric that counts has a number at step 0: nothing says which snapshot is better."""
        return not self.weights and any(summary.step == 0 for summary in self.summaries)

    @cached_property
    def candidates(self) -> tuple[Summary, ...]:
        """Snapshots with a composite over at least two prompts, by step, and then averages of them.

        Where nothing is measured, all that were drawn.
        """
        trained = [summary for summary in self.summaries if summary.step > 0]
        known = tuple(summary for summary in trained if self.is_unmeasured or len(summary.composite) > 1)
        return known if any(not is_average(summary.step) for summary in known) else ()

    @cached_property
    def snapshots(self) -> tuple[Summary, ...]:
        """The candidates that training has made: averages are no further steps."""
        return tuple(summary for summary in self.candidates if not is_average(summary.step))

    def averages(self, count: int) -> tuple[int, ...]:
        """Numbers of the averages to make around the best snapshot, whatever averages have shown so far."""
        trained = [summary for summary in self.summaries if not is_average(summary.step)]
        alone = replace(self, summaries=tuple(trained))
        if not alone.eligible or self.is_unmeasured:
            return ()
        able = [summary.step for summary in alone.eligible]
        return windows([summary.step for summary in alone.candidates], able, alone._top, count)

    @cached_property
    def trend(self) -> Trend:
        """Of the composite over all candidates, whether they may be shipped or not; there is at least one snapshot."""
        return Trend({summary.step: summary.composite for summary in self.candidates})

    @cached_property
    def best(self) -> Selection | None:
        """The eligible snapshot with the best smoothed composite; None without a candidate, or with nothing measured.

        Who prefers the earliest gets the first that cannot be told from it and loses less than what matters.
        """
        if not self.eligible or self.is_unmeasured:
            return None
        level, top = self.trend.level, self._top
        close = [step for step in self.indistinguishable if level(step) - level(top) < self.min_difference]
        chosen = top if self.prefer == "best" else min(close)
        return self._describe(next(summary for summary in self.eligible if summary.step == chosen), top)

    @cached_property
    def indistinguishable(self) -> tuple[int, ...]:
        """Steps of the eligible snapshots that cannot be told from the best, the best first, then ascending."""
        differences = self.behind.items()
        return (self._top, *(step for step, worse in differences if worse is None or not worse.is_above_zero))

    @cached_property
    def proven(self) -> tuple[int, ...]:
        """Steps of the eligible snapshots that are surely better than step 0, the best smoothed composite first.

        The best of all need not be one: its mean may be the best while its prompts disagree the most.
        """
        sure = [summary.step for summary in self.eligible if self.composites[summary.step].is_below_zero]
        return tuple(sorted(sure, key=lambda step: (self.trend.level(step), step)))

    @cached_property
    def composites(self) -> dict[int, Estimate]:
        """Step of each candidate → its composite, with an interval that holds for all snapshots at once."""
        found = {summary.step: self.composite_of(summary) for summary in self.candidates}
        return {step: composite for step, composite in found.items() if composite is not None}

    @cached_property
    def behind(self) -> dict[int, Estimate | None]:
        """Step of each other eligible snapshot → how far it is behind the best: above 0 is surely worse.

        By intervals of smoothed paired differences that hold for all of them at once.
        """
        others = [summary.step for summary in self.eligible if summary.step != self._top]
        level = 1 - (1 - LEVEL) / max(1, len(others))
        return {step: self.trend.difference(step, self._top, level) for step in others}

    @cached_property
    def _top(self) -> int:
        """The best smoothed composite of those that may be shipped."""
        return min(self.eligible, key=lambda summary: self.trend.level(summary.step)).step

    def selection_of(self, step: int, why: Phrase | None = None) -> Selection:
        """What there is to say for shipping this candidate: the final chose it, `best` or another, or else `why`."""
        chosen = next(summary for summary in self.candidates if summary.step == step)
        overruled = self.best.step if self.best and self.best.step != step else None
        return self._describe(chosen, self._top, overruled, why, confirmed=why is None)

    @cached_property
    def at_hand(self) -> tuple[Summary, ...]:
        """Candidates whose weights are there. There is no deleting all of them: the best and the newest are kept."""
        return tuple(summary for summary in self.candidates if summary.step not in self.deleted) or self.candidates

    @property
    def is_flagged_throughout(self) -> bool:
        """Whether every candidate whose weights are there fails a guard or shows a sign of overfitting."""
        return all(summary.step in self.flagged for summary in self.at_hand)

    @property
    def flagged_at_hand(self) -> dict[int, tuple[bool, bool]]:
        """Those of `flagged` whose weights are there."""
        return {summary.step: flag for summary in self.at_hand if (flag := self.flagged.get(summary.step))}

    @property
    def _gone(self) -> list[Summary]:
        return [summary for summary in self.candidates if summary not in self.at_hand]

    def _better_but_gone(self, step: int) -> tuple[int, ...]:
        """Steps with a better smoothed composite and without weights, the best first, flagged ones left out."""
        level = self.trend.level
        better = [one.step for one in self._gone if one.step not in self.flagged and level(one.step) < level(step)]
        return tuple(sorted(better, key=lambda one: (level(one), one)))

    @cached_property
    def flagged(self) -> dict[int, tuple[bool, bool]]:
        """Step of each candidate that fails a guard or shows a sign of overfitting → which of the two it does."""
        flags = {summary.step: (bool(self._fallen(summary)), bool(summary.raised)) for summary in self.candidates}
        return {step: flag for step, flag in flags.items() if any(flag)}

    @cached_property
    def eligible(self) -> tuple[Summary, ...]:
        """Candidates that may be shipped: those that pass every guard and show no sign of overfitting.

        Where there is none, those that pass every guard; where there is none either, all. Those whose weights were
        deleted may not.
        """
        passing = tuple(summary for summary in self.at_hand if not self._fallen(summary)) or self.at_hand
        return tuple(summary for summary in passing if not summary.raised) or passing

    @property
    def passed_over(self) -> dict[int, str]:
        """The objections in English."""
        return {step: str(reason) for step, reason in self.objections.items()}

    @cached_property
    def objections(self) -> dict[int, Phrase]:
        """Step → why a candidate may not be shipped, in words after `it`."""
        eligible = {summary.step for summary in self.eligible}
        flagged = [summary for summary in self.candidates if summary.step in self.flagged]
        left_out = [summary for summary in flagged if summary.step not in eligible]
        return {summary.step: joined("{one} and {other}", self._objections(summary)) for summary in left_out}

    def _objections(self, summary: Summary) -> Iterator[Phrase]:
        yield from (phrase(guard.fallen) for guard in self._fallen(summary))
        if len(summary.raised) == 1:
            yield phrase("shows a sign of overfitting ({name})", name=summary.raised[0])
        elif summary.raised:
            names = joined("{one}, {other}", map(phrase, summary.raised))
            yield phrase("shows signs of overfitting ({names})", names=names)

    def _guards(self, column: Column, summary: Summary) -> bool:
        """Whether a guard can be judged here: it has values, and the unit it names."""
        return bool(summary.guards[column.name]) and (column.name in self.scales or not is_scaled(column))

    def unguarded(self, chosen: Summary) -> Iterator[Phrase]:
        """That guards could not be checked, where that is so."""
        return unguarded(
            [column for column in self.metrics.columns if column.guard and not self._guards(column, chosen)],
            self.missing,
        )

    def _fallen(self, summary: Summary) -> list[Guard]:
        """Guards that fell for sure. One that is blank, or lacks the unit it names, guards nothing."""
        fallen: list[Guard] = []
        for column in self.metrics.columns:
            excess = estimate(summary.guards[column.name].values()) if column.guard else None
            limit = -GUARD_TOLERANCE * self.scales.get(column.name, math.inf if is_scaled(column) else 0.0)
            if column.guard and excess is not None and excess.high is not None and excess.high < limit:
                fallen.append(column.guard)
        return fallen

    def row(self, summary: Summary) -> dict[str, float | None]:
        """The cells of metrics.csv. `<metric>_low|high` and `composite_low|high` are the intervals of best.json."""
        cells, known = summary.row(), {"composite": self.composite_of(summary), **self.deltas(summary)}
        for name in ("composite", *summary.deltas):
            found = known.get(name)
            cells |= {f"{name}_low": found.low if found else None, f"{name}_high": found.high if found else None}
        return cells

    def sure(self, summary: Summary) -> tuple[str, ...]:
        """Composite and compared metrics whose difference to step 0 is sure, beside those of all other snapshots."""
        intervals = {"composite": self.composite_of(summary), **self.deltas(summary)}
        return tuple(
            name for name, delta in intervals.items() if delta and (delta.is_below_zero or delta.is_above_zero)
        )

    def composite_of(self, summary: Summary) -> Estimate | None:
        """With an interval that holds for all snapshots at once."""
        return estimate(summary.composite.values(), composite_level(self._num_compared))

    def deltas(self, summary: Summary) -> dict[str, Estimate]:
        """Compared metric → its difference, with an interval that holds for all snapshots and metrics at once."""
        level = metric_level(self._num_compared, len(self.metrics.compared))
        deltas = {metric: estimate(values.values(), level) for metric, values in summary.deltas.items()}
        return {metric: delta for metric, delta in deltas.items() if delta is not None}

    @cached_property
    def _num_compared(self) -> int:
        return sum(summary.step > 0 for summary in self.summaries)

    def _describe(
        self,
        chosen: Summary,
        top: int,
        overruled: int | None = None,
        why: Phrase | None = None,
        *,
        confirmed: bool = False,
    ) -> Selection:
        composite = self.composite_of(chosen)
        assert composite is not None, "a candidate has a composite"
        selection = Selection(
            step=chosen.step,
            sentences=(),
            better_than_base=composite.is_below_zero,
            passes_guards=not self._fallen(chosen),
            flagged=self.is_flagged_throughout,
            objections=self.objections,
            indistinguishable=tuple(sorted(self.indistinguishable)),
            composite=composite,
            deltas=self.deltas(chosen),
            num_evaluated=len(self.candidates),
            num_averages=len(self.candidates) - len(self.snapshots),
            num_deleted=sum(summary.step not in self.objections for summary in self._gone),
            better=self._better_but_gone(chosen.step),
        )
        sentences = (
            *(no_recommendation(self.flagged_at_hand, some_deleted=bool(self._gone)) if selection.flagged else ()),
            *(
                choice(selection, top, self.min_difference, overruled)
                if why is None
                else (why, *passed_over(self.objections))
            ),
            *findings(
                selection,
                chosen,
                self.metrics,
                self._fallen(chosen),
                one_prompt=self.one_prompt,
                confirmed=confirmed,
            ),
            *self.unguarded(chosen),
        )
        return replace(selection, sentences=sentences)


def rank(
    evaluations: Mapping[int, Sequence[Sample]],
    metrics: MetricDescriptions,
    anchors: Mapping[str, Anchors] | None = None,
    validations: Sequence[Validated] | None = (),
    prefer: Preference = "best",
    min_difference: float = MIN_DIFFERENCE,
    scales: Mapping[str, float] | None = None,
    probes: Mapping[int, Sequence[Sample]] | None = None,
    missing: Mapping[str, str] | None = None,
    figures: Mapping[int, Mapping[str, Figure]] | None = None,
    deleted: Collection[int] = (),
) -> Ranking:
    """Rank every snapshot evaluated so far. Without step 0 there are means, but nothing is compared or chosen.

    Args:
        evaluations: step → one row for each picture, step 0 the base model's.
        metrics: what the numbers mean: which are weighed, which guard, which tell of overfitting.
        anchors: loss → floor and ceiling of its scale for the run's references.
        validations: the trainer's held-out losses, by step; None: another program trains.
        prefer: the best snapshot, or the earliest of those that are as good for any purpose.
        min_difference: of the composite, from which on it matters.
        scales: those of the run, where these are not its first evaluations; None: they follow from step 0.
        probes: step → one row for each picture of a probe prompt; None: there are none.
        missing: column → why step 0 has no number of it.
        figures: step → the numbers of its whole evaluation; None: there are none.
        deleted: steps whose weights were deleted.
    """
    baseline = evaluations.get(0, ())
    scales = scales_of(baseline, metrics) if scales is None else scales
    mixture = mix(metrics.losses, scales, baseline)
    drawn = {
        step: Drawn(samples, (probes or {}).get(step, ()), (figures or {}).get(step, {}))
        for step, samples in evaluations.items()
    }
    base = drawn.get(0, Drawn())
    summaries = tuple(
        summarize(step, samples, base, metrics, mixture, anchors or {}, validations)
        for step, samples in sorted(drawn.items())
    )
    return Ranking(
        summaries,
        metrics,
        {**mixture.shares, **mixture.shares_alone},
        dict(scales),
        prefer,
        min_difference,
        share_one_prompt(baseline),
        bool(baseline) and not any(sample.has_reference for sample in baseline),
        missing or {},
        frozenset(deleted),
    )
