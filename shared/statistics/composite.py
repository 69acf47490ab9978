"""One number per prompt from all losses: how far a snapshot is from step 0.

The composite of a prompt is the weighted mean of its loss deltas, each divided by its scale: that loss's standard
deviation over prompts at step 0 (Glass's delta, 1976), but at least a quarter of its mean there, because prompts that
happen to be alike would make a ruler so fine that this loss alone decides. A number that is better when higher counts
with the opposite sign. A scale is cut once for the run: one snapshot is enough, and no later one changes an earlier
one's number. Being per prompt, the composite has an interval like any delta, and like any loss it is negative when
better. A loss that is blank at step 0 is left out of the whole run, and the other weights grow. A snapshot that lacks a
loss in use has no composite, rather than one of another mixture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.run_folder.metric_descriptions import Column, Guard, MetricDescriptions
from shared.run_folder.records.evaluation_result import Sample
from shared.statistics.paired import PromptValues, by_prompt, mean, spread

MIN_SCALE_SHARE = 0.25
"""Of a metric's mean at step 0."""


@dataclass(frozen=True)
class Mixture:
    """What the composite of a run is made of; both are empty when no loss has a scale."""

    shares: dict[str, float]
    """Losses in use → share of the composite, sum 1."""
    units: dict[str, float]
    """Losses in use → scale, negative where a higher number is better."""


def composite(deltas: Mapping[str, PromptValues], mixture: Mixture) -> PromptValues:
    """The weighted mean of deltas, for each prompt that has every loss in use. deltas: loss → difference to step 0."""
    shares, units = mixture.shares, mixture.units
    if not shares:
        return {}
    known = set[str].intersection(*(set(deltas[loss]) for loss in shares))
    prompts = [prompt for prompt in next(iter(deltas.values())) if prompt in known]
    return {
        prompt: sum(share * deltas[loss][prompt] / units[loss] for loss, share in shares.items()) for prompt in prompts
    }


def mix(losses: Sequence[Column], scales: Mapping[str, float]) -> Mixture:
    """Of the losses that have a scale."""
    in_use = [column for column in losses if column.name in scales]
    total = sum(column.weight for column in in_use)
    return Mixture(
        shares={column.name: column.weight / total for column in in_use},
        units={column.name: column.worsening * scales[column.name] for column in in_use},
    )


def scales_of(baseline: Sequence[Sample], metrics: MetricDescriptions) -> dict[str, float]:
    """Compared metric → what counts as one unit of it, from step 0's samples; absent where there is no such unit."""
    by_name = {column.name: by_prompt(baseline, column.name) for column in metrics.compared}
    scales = {name: scale(values) for name, values in by_name.items()}
    scales |= {column.name: guard_unit(baseline, column.guard) for column in metrics.columns if is_scaled(column)}
    return {name: unit for name, unit in scales.items() if unit > 0}


def scale(values: PromptValues) -> float:
    """One unit of a metric, from its values at step 0; 0 when it is blank or nothing but zeros."""
    return max(spread(values), MIN_SCALE_SHARE * abs(mean(values))) if values else 0.0


def is_scaled(column: Column) -> bool:
    """Whether a guard's unit comes from what the real pictures score in another's place."""
    return column.guard is not None and bool(column.guard.shuffled)


def guard_unit(baseline: Sequence[Sample], guard: Guard | None) -> float:
    """What the real pictures lose in another's place; 0 where that is not known."""
    own, other = (by_prompt(baseline, name) for name in ((guard.real, guard.shuffled) if guard else ("", "")))
    return abs(mean(own) - mean(other)) if own and other else 0.0
