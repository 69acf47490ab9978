"""Which snapshot to ship, and whether it beats the base model.

Pure: evaluated rows in, numbers and words out; no torch, no files, no clock.

The composite of a prompt is the weighted mean of its loss deltas, each divided by its scale: that loss's standard
deviation over prompts at step 0 (Glass's delta, 1976), but at least a quarter of its mean there, because prompts that
happen to be alike would make a ruler so fine that this loss alone decides. A number that is better when higher counts
with the opposite sign. A scale is cut once for the run: one
snapshot is enough, and no later one changes an earlier one's number. Being per prompt, the composite has an interval
like any delta, and like any loss it is negative when better. A loss that is blank at step 0 is left out of the whole
run, and the other weights grow. A snapshot that lacks a loss in use has no composite, rather than one of another
mixture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from evaluator.selection import overfitting
from evaluator.selection.held_out_losses import Validated
from shared.run_folder.metric_descriptions import Column, Guard, MetricDescriptions
from shared.run_folder.records import Anchors, Sample, Signal
from shared.statistics.paired import (
    LEVEL,
    Estimate,
    PromptValues,
    by_prompt,
    difference,
    estimate,
    mean,
    paired_deltas,
    spread,
)
from shared.statistics.skill import has_scale, skill

GUARD_TOLERANCE = 0.5
"""A snapshot fails a guard when its number is surely worse than both step 0's and the real picture's, by more than this
many scales. A concept that the guard's encoder does not know makes the number of the true picture worse too."""
MIN_SCALE_SHARE = 0.25
"""Of a metric's mean at step 0."""


@dataclass(frozen=True)
class Summary:
    """One snapshot against step 0."""

    step: int
    means: dict[str, float]
    """Column → mean over prompts; a column that is blank in every picture is absent."""
    deltas: dict[str, PromptValues]
    """Compared metric → its paired difference to step 0 for each prompt; empty when blank here or there."""
    composite: PromptValues
    """For each prompt; empty when a loss in use is missing."""
    guards: dict[str, PromptValues]
    """Guard → how much better it is than the worse of step 0's and the real picture's, for each prompt."""
    skills: dict[str, Estimate]
    """Loss → place on its scale: 0 like a real picture of another prompt, 1 like the most similar real picture."""
    ratios: dict[str, Estimate | None]
    """Column that is a ratio over prompts → its value."""
    validated: Validated | None
    """The trainer's held-out loss at this very step."""
    signals: tuple[Signal, ...]
    """Of overfitting; step 0 has none."""

    @property
    def raised(self) -> tuple[str, ...]:
        """Names of the signals of overfitting that stand."""
        return tuple(signal.name for signal in self.signals if signal.raised)

    def row(self) -> dict[str, float | None]:
        """The cells of metrics.csv: means, `<metric>_delta|low|high`, `composite`, `composite_low|high`, and so on."""
        cells: dict[str, float | None] = {**self.means}
        cells |= {f"{loss}_skill": skill.mean for loss, skill in self.skills.items()}
        cells |= {name: None if found is None else found.mean for name, found in self.ratios.items()}
        cells |= {"val_loss": None, "gap": None}
        if self.validated:
            cells |= {"val_loss": self.validated.held_out_loss, "gap": self.validated.gap}
        for metric, values in self.deltas.items():
            delta, low, high = _cells(estimate(values.values()))
            cells |= {f"{metric}_delta": delta, f"{metric}_low": low, f"{metric}_high": high}
        composite, low, high = _cells(estimate(self.composite.values()))
        return {**cells, "composite": composite, "composite_low": low, "composite_high": high}


@dataclass(frozen=True)
class Selection:
    """The snapshot to ship. Its intervals hold for all snapshots at once (Bonferroni): it was picked among them."""

    step: int
    reason: str
    better_than_base: bool
    """Only when the composite's interval lies below zero."""
    passes_guards: bool
    """False when every snapshot fails a guard, and this is merely the best of those."""
    passed_over: dict[int, str]
    """Step → why it may not be shipped; empty where that holds for all."""
    composite: Estimate
    deltas: dict[str, Estimate]
    num_evaluated: int


@dataclass(frozen=True)
class Ranking:
    """Everything the evaluations so far say. Built by `rank`."""

    summaries: tuple[Summary, ...]
    """By step, step 0 first."""
    metrics: MetricDescriptions
    weights: dict[str, float]
    """Losses in use → share of the composite, sum 1; empty when no loss has a scale."""
    scales: dict[str, float]
    """Metric → what counts as one unit of it; see above."""

    @cached_property
    def candidates(self) -> tuple[Summary, ...]:
        """Snapshots with a composite over at least two prompts, by step."""
        return tuple(summary for summary in self.summaries if summary.step > 0 and len(summary.composite) > 1)

    @cached_property
    def best(self) -> Selection | None:
        """The earliest eligible snapshot within one standard error of the best composite; None without a candidate.

        The standard error is that of the paired difference to the best (the one-SE rule of Breiman et al. 1984):
        the very best of 20 equal snapshots looks better than it is by 1.9 standard errors.
        """
        if not self.eligible:
            return None
        top = min(self.eligible, key=lambda summary: mean(summary.composite))
        chosen = next(summary for summary in self.eligible if _is_as_good_as(summary, top))
        return self._describe(chosen, top)

    def selection_of(self, step: int) -> Selection:
        """What there is to say for shipping a given candidate, whoever chose it."""
        return self._describe(next(summary for summary in self.candidates if summary.step == step), None)

    @cached_property
    def eligible(self) -> tuple[Summary, ...]:
        """Candidates that may be shipped: those that pass every guard and show no sign of overfitting.

        Where there is none, those that pass every guard; where there is none either, all.
        """
        passing = tuple(summary for summary in self.candidates if not self._fallen(summary)) or self.candidates
        return tuple(summary for summary in passing if not summary.raised) or passing

    @cached_property
    def passed_over(self) -> dict[int, str]:
        """Step → why a candidate may not be shipped, in words after `it`."""
        eligible = {summary.step for summary in self.eligible}
        left_out = [summary for summary in self.candidates if summary.step not in eligible]
        return {summary.step: " and ".join(self._objections(summary)) for summary in left_out}

    def _objections(self, summary: Summary) -> Iterator[str]:
        yield from (guard.fallen for guard in self._fallen(summary))
        if summary.raised:
            signs = "a sign" if len(summary.raised) == 1 else "signs"
            yield f"shows {signs} of overfitting ({', '.join(summary.raised)})"

    def _fallen(self, summary: Summary) -> list[Guard]:
        """Guards that fell for sure. One that is blank guards nothing."""
        fallen: list[Guard] = []
        for column in self.metrics.columns:
            excess = estimate(summary.guards[column.name].values()) if column.guard else None
            limit = -GUARD_TOLERANCE * self.scales.get(column.name, 0.0)
            if column.guard and excess is not None and excess.high is not None and excess.high < limit:
                fallen.append(column.guard)
        return fallen

    def _describe(self, chosen: Summary, top: Summary | None) -> Selection:
        num_evaluated = len(self.candidates)
        level = 1 - (1 - LEVEL) / num_evaluated
        composite = estimate(chosen.composite.values(), level)
        assert composite is not None, "a candidate has a composite"
        estimates = {metric: estimate(values.values(), level) for metric, values in chosen.deltas.items()}
        selection = Selection(
            step=chosen.step,
            reason="",
            better_than_base=composite.is_below_zero,
            passes_guards=not self._fallen(chosen),
            passed_over=self.passed_over,
            composite=composite,
            deltas={metric: delta for metric, delta in estimates.items() if delta is not None},
            num_evaluated=num_evaluated,
        )
        reason = [*_choice(selection, chosen, top), *_findings(selection, chosen, self.metrics, self._fallen(chosen))]
        return replace(selection, reason=" ".join(reason))


def rank(
    evaluations: Mapping[int, Sequence[Sample]],
    metrics: MetricDescriptions,
    anchors: Mapping[str, Anchors] | None = None,
    validations: Sequence[Validated] = (),
) -> Ranking:
    """Rank every snapshot evaluated so far. Without step 0 there are means, but nothing is compared or chosen.

    Args:
        evaluations: step → one row for each picture, step 0 the base model's.
        metrics: what the numbers mean: which are weighed, which guard, which tell of overfitting.
        anchors: loss → floor and ceiling of its scale for the run's references.
        validations: the trainer's held-out losses, by step.
    """
    baseline, compared = evaluations.get(0, ()), [column.name for column in metrics.compared]
    scales = {name: unit for name in compared if (unit := _scale(by_prompt(baseline, name))) > 0}
    in_use = [column for column in metrics.losses if column.name in scales]
    total = sum(column.weight for column in in_use)
    shares = {column.name: column.weight / total for column in in_use}
    units = {column.name: column.worsening * scales[column.name] for column in in_use}
    summaries = []
    for step, samples in sorted(evaluations.items()):
        deltas = {name: paired_deltas(samples, baseline, name) for name in compared}
        ratios = overfitting.ratios(samples, baseline, metrics)
        so_far = [row for row in validations if row.step <= step]
        summaries.append(
            Summary(
                step=step,
                means=_means(samples),
                deltas=deltas,
                composite=_composite(deltas, shares, units),
                guards={column.name: _excess(samples, baseline, column) for column in metrics.of_role("guard")},
                skills=_skills(samples, anchors or {}, metrics),
                ratios=ratios,
                validated=next((row for row in so_far if row.step == step), None),
                signals=overfitting.signals(samples, ratios, so_far, metrics) if step else (),
            )
        )
    return Ranking(tuple(summaries), metrics, shares, scales)


def _means(samples: Sequence[Sample]) -> dict[str, float]:
    columns = dict.fromkeys(column for sample in samples for column in sample.metrics)
    return {column: mean(values) for column in columns if (values := by_prompt(samples, column))}


def _skills(
    samples: Sequence[Sample], anchors: Mapping[str, Anchors], metrics: MetricDescriptions
) -> dict[str, Estimate]:
    """Each loss on its own scale from floor to ceiling; one without such a scale is absent."""
    found: dict[str, Estimate] = {}
    for column in metrics.losses:
        ends, losses = anchors.get(column.name), estimate(by_prompt(samples, column.name).values())
        if ends is not None and losses is not None and has_scale(ends, column.worsening):
            found[column.name] = skill(losses, ends)
    return found


def _scale(values: PromptValues) -> float:
    """One unit of a metric, from step 0; 0 when it is blank or nothing but zeros."""
    return max(spread(values), MIN_SCALE_SHARE * abs(mean(values))) if values else 0.0


def _excess(samples: Sequence[Sample], baseline: Sequence[Sample], column: Column) -> PromptValues:
    """How much better a guard is than the worse of step 0's and the real picture's."""
    worse, floors = min if column.direction == "higher" else max, []
    both = (column.name, column.guard.real if column.guard else "")
    for sample in baseline:
        known = [value for name in both if (value := sample.metrics.get(name)) is not None]
        floors.append(sample.model_copy(update={"metrics": {column.name: worse(known, default=None)}}))
    differences = paired_deltas(samples, floors, column.name)
    return {prompt: -column.worsening * difference for prompt, difference in differences.items()}


def _composite(
    deltas: Mapping[str, PromptValues], shares: Mapping[str, float], units: Mapping[str, float]
) -> PromptValues:
    """The weighted mean of deltas, for each prompt that has every loss in use. units: scales, negative where a higher
    number is better."""
    if not shares:
        return {}
    prompts = set.intersection(*(set(deltas[loss]) for loss in shares))
    return {
        prompt: sum(share * deltas[loss][prompt] / units[loss] for loss, share in shares.items())
        for prompt in sorted(prompts)
    }


def _is_as_good_as(summary: Summary, top: Summary) -> bool:
    """Within one standard error of the paired difference to the best."""
    gap = difference(summary.composite, top.composite)
    return summary is top or (gap is not None and gap.standard_error is not None and gap.mean <= gap.standard_error)


def _choice(selection: Selection, chosen: Summary, top: Summary | None) -> Iterator[str]:
    """Why this one. top: None if it was given."""
    num_left = selection.num_evaluated - len(selection.passed_over)
    among = f"{num_left} snapshots" if not selection.passed_over else f"the {num_left} snapshots that may be shipped"
    if selection.num_evaluated == 1:
        yield f"Step {chosen.step} is the only snapshot evaluated."
    elif num_left == 1:
        yield f"Step {chosen.step} is the only one of {selection.num_evaluated} snapshots that may be shipped."
    elif top is None:
        yield f"Step {chosen.step} is one of {among}."
    elif chosen is top:
        yield f"Step {chosen.step} has the best composite of {among}."
    else:
        yield (
            f"Step {chosen.step} is the earliest of {among} that is within one standard error of the best composite "
            f"(step {top.step})."
        )
    yield from _passed_over(selection)


def _passed_over(selection: Selection) -> Iterator[str]:
    """Which snapshots may not be shipped, and why."""
    for reason in dict.fromkeys(selection.passed_over.values()):
        steps = [str(step) for step, why in selection.passed_over.items() if why == reason]
        named = f"step {steps[0]}, which" if len(steps) == 1 else f"steps {', '.join(steps)}, each of which"
        yield f"Passed over: {named} {reason}."


def _findings(
    selection: Selection, chosen: Summary, metrics: MetricDescriptions, fallen: Sequence[Guard]
) -> Iterator[str]:
    """Whether it is better than the base model, and what speaks against it."""
    sure = "" if selection.better_than_base else "not shown to be "
    yield (
        f"Over {selection.composite.num_prompts} prompts it is {sure}better than the base model: "
        f"{_in_words(selection.deltas, metrics)}."
    )
    guards = [(column, column.guard) for column in metrics.columns if column.guard]
    for column, guard in guards:
        real, delta = chosen.means.get(guard.real), selection.deltas.get(column.name)
        if not fallen and real is not None and delta is not None and _word(column, delta) == _worse(column):
            side = "below" if column.direction == "higher" else "above"
            yield f"Real pictures score {real:.3f} in {column.name}: to score {side} the base model is right here."
    if fallen:
        others = "as does every other snapshot" if len(guards) == 1 else "and no other snapshot passes every guard"
        yield f"But it {' and '.join(guard.fallen for guard in fallen)}, {others}."
    if chosen.raised and selection.num_evaluated > 1:
        every = "snapshot that passes the guards" if selection.passed_over else "snapshot"
        yield f"Every {every} shows a sign of overfitting, so none was passed over for that."
    for signal in chosen.signals:
        if signal.raised:
            yield f"A sign of overfitting, {signal.name}: {signal.evidence}."


def _in_words(deltas: Mapping[str, Estimate], metrics: MetricDescriptions) -> str:
    """Every delta with its interval and what it means, as a list a person reads."""
    found = [(column, delta) for column in metrics.compared if (delta := deltas.get(column.name)) is not None]
    return "; ".join(
        f"{column.name} {_signed(delta.mean, column)} "
        f"({_signed(delta.low, column)} to {_signed(delta.high, column)}, {_word(column, delta)})"
        for column, delta in found
        if delta.low is not None and delta.high is not None
    )


def _signed(value: float, column: Column) -> str:
    return f"{value:+.{column.decimals}f}"


def _word(column: Column, delta: Estimate) -> str:
    """A guard is only called lower or higher: which is better depends on what the real pictures score."""
    if not (delta.is_below_zero or delta.is_above_zero):
        return "no sure difference"
    if column.role == "guard" or not column.worsening:
        return "lower" if delta.is_below_zero else "higher"
    return "better" if delta.is_below_zero == (column.worsening > 0) else "worse"


def _worse(guard: Column) -> str:
    return "lower" if guard.direction == "higher" else "higher"


def _cells(delta: Estimate | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if delta is None else (delta.mean, delta.low, delta.high)
