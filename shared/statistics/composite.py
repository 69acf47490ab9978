"""One number per prompt from all losses: how far a snapshot is from step 0.

The composite of a prompt is the weighted mean of its loss deltas, each divided by its scale: that loss's standard
deviation over prompts at step 0 (Glass's delta, 1976), but at least a quarter of its mean there, because prompts that
happen to be alike would make a ruler so fine that this loss alone decides. A number that is better when higher counts
with the opposite sign. A scale is cut once for the run: one snapshot is enough, and no later one changes an earlier
one's number. Being per prompt, the composite has an interval like any delta, and like any loss it is negative when
better. A loss that is blank at step 0, or has a
number for one prompt of several, is left out of the whole run, and the other weights grow. A snapshot that lacks a
loss in use has no composite, rather than one of another mixture.

A prompt of a person's own has no real picture to compare with. It has a mixture of its own, of losses that need none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.run_folder.metric_descriptions import Column, Guard, MetricDescriptions
from shared.run_folder.records.evaluation_result import Sample
from shared.statistics.paired import PromptValues, by_prompt, mean, prompts, spread

MIN_SCALE_SHARE = 0.25
"""Of a metric's mean at step 0."""


@dataclass(frozen=True)
class Mixture:
    """What the composite of a run is made of; all are empty when no loss has a scale."""

    shares: dict[str, float]
    """Losses in use → share of the composite, sum 1."""
    units: dict[str, float]
    """Losses in use, also without a reference → scale, negative where a higher number is better."""
    shares_alone: dict[str, float] = field(default_factory=dict[str, float])
    """Likewise for prompts without a reference."""
    alone: frozenset[str] = frozenset()
    """Prompts without a reference."""

    def of(self, prompt: str) -> dict[str, float]:
        """Losses in use for a prompt → share."""
        return self.shares_alone if prompt in self.alone else self.shares


def composite(deltas: Mapping[str, PromptValues], mixture: Mixture) -> PromptValues:
    """The weighted mean of deltas, for each prompt that has every loss in use. deltas: loss → difference to step 0."""
    values: PromptValues = {}
    for prompt in dict.fromkeys(prompt for known in deltas.values() for prompt in known):
        shares = mixture.of(prompt)
        if shares and all(prompt in deltas[loss] for loss in shares):
            values[prompt] = sum(share * deltas[loss][prompt] / mixture.units[loss] for loss, share in shares.items())
    return values


def mix(losses: Sequence[Column], scales: Mapping[str, float], baseline: Sequence[Sample] = ()) -> Mixture:
    """Of the losses that have a scale. baseline: step 0's samples, which say what prompts have a reference."""
    in_use = [column for column in losses if column.name in scales]
    return Mixture(
        shares=_shares([column for column in in_use if column.counts_for(has_reference=True)]),
        units={column.name: column.worsening * scales[column.name] for column in in_use},
        shares_alone=_shares([column for column in in_use if column.counts_for(has_reference=False)]),
        alone=without_reference(baseline),
    )


def without_reference(samples: Sequence[Sample]) -> frozenset[str]:
    """The prompts of which no sample has a reference."""
    unit = prompts(samples)
    paired = {unit[sample.prompt_id] for sample in samples if sample.has_reference}
    return frozenset(unit.values()) - paired


def _shares(columns: Sequence[Column]) -> dict[str, float]:
    total = sum(column.weight for column in columns)
    return {column.name: column.weight / total for column in columns}


def scales_of(baseline: Sequence[Sample], metrics: MetricDescriptions) -> dict[str, float]:
    """Compared metric → what counts as one unit of it, from step 0's samples; absent where there is no such unit."""
    by_name = {column.name: by_prompt(baseline, column.name) for column in metrics.compared}
    alone = {column.name for column in metrics.losses if is_of_one_prompt(column, by_name[column.name], baseline)}
    scales = {name: scale(values) for name, values in by_name.items() if name not in alone}
    scales |= {column.name: guard_unit(baseline, column) for column in metrics.columns if is_scaled(column)}
    return {name: unit for name, unit in scales.items() if unit > 0}


def is_of_one_prompt(loss: Column, values: PromptValues, baseline: Sequence[Sample]) -> bool:
    """Whether a loss has a number for a single prompt, of several that it counts for. Where every prompt needs all
    losses, it would leave one prompt, and one says nothing of others. values: of the loss, from step 0's samples.
    """
    others = without_reference(baseline)
    count = sum(loss.counts_for(has_reference=prompt not in others) for prompt in set(prompts(baseline).values()))
    return len(values) == 1 < count


def scale(values: PromptValues) -> float:
    """One unit of a metric, from its values at step 0; 0 when it is blank or nothing but zeros."""
    return max(spread(values), MIN_SCALE_SHARE * abs(mean(values))) if values else 0.0


def is_scaled(column: Column) -> bool:
    """Whether a guard's unit comes from what the real pictures score in another's place."""
    return column.guard is not None and bool(column.guard.shuffled)


def guard_unit(baseline: Sequence[Sample], column: Column) -> float:
    """What the real pictures lose in another's place; 0 where that is not known.

    For prompts without a real picture, step 0's own number stands in.
    """
    guard = column.guard or Guard(fallen="")
    paired = [sample for sample in baseline if sample.has_reference]
    alone = [sample for sample in baseline if not sample.has_reference]
    other = by_prompt(baseline, guard.shuffled)
    own = {**by_prompt(alone, column.name), **by_prompt(paired, guard.real)}
    own = {prompt: value for prompt, value in own.items() if prompt in other}
    return abs(mean(own) - mean(other)) if own and other else 0.0
