"""What one snapshot shows against step 0. Pure: rows of pictures in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evaluator.selection import overfitting
from evaluator.selection.held_out_losses import Validated
from shared.run_folder.averages import trained_to
from shared.run_folder.metric_descriptions import Column, MetricDescriptions
from shared.run_folder.records.best import Signal
from shared.run_folder.records.evaluation_result import Anchors, Sample
from shared.run_folder.records.exhibit import Figure
from shared.statistics import signs
from shared.statistics.composite import Mixture, composite
from shared.statistics.paired import Estimate, PromptValues, by_prompt, estimate, mean, paired_deltas
from shared.statistics.skill import has_scale, skill


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
    figures: Mapping[str, Figure] = field(default_factory=dict[str, Figure])
    """Column that is no mean over prompts → its number."""

    @property
    def raised(self) -> tuple[str, ...]:
        """Names of the signals of overfitting that stand."""
        return tuple(signal.name for signal in self.signals if signal.raised)

    def row(self) -> dict[str, float | None]:
        """Cells of metrics.csv that no other snapshot changes: means, `<metric>_delta`, `composite`, and so on."""
        cells: dict[str, float | None] = {**self.means}
        cells |= {f"{loss}_skill": skill.mean for loss, skill in self.skills.items()}
        cells |= {name: None if value is None else value.mean for name, value in self.ratios.items()}
        for name, figure in self.figures.items():
            cells |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
        cells |= {"val_loss": None, "gap": None}
        if self.validated:
            cells |= {"val_loss": self.validated.held_out_loss, "gap": self.validated.gap}
        cells |= {f"{metric}_delta": mean(values) if values else None for metric, values in self.deltas.items()}
        return {**cells, "composite": mean(self.composite) if self.composite else None}


@dataclass(frozen=True)
class Drawn:
    """The pictures of one step."""

    samples: Sequence[Sample] = ()
    probes: Sequence[Sample] = ()
    """Of probe prompts."""
    figures: Mapping[str, Figure] = field(default_factory=dict[str, Figure])
    """Of all of them together."""


def summarize(
    step: int,
    drawn: Drawn,
    base: Drawn,
    metrics: MetricDescriptions,
    mixture: Mixture,
    anchors: Mapping[str, Anchors],
    validations: Sequence[Validated] | None,
) -> Summary:
    """One snapshot. base: of step 0; mixture: of the losses in use; validations: of the whole run; None: another
    program trains."""
    samples, baseline = drawn.samples, base.samples
    deltas = {column.name: paired_deltas(samples, baseline, column.name) for column in metrics.compared}
    ratios = {
        **signs.ratios(samples, baseline, metrics.of_samples),
        **signs.ratios(drawn.probes, base.probes, metrics.of_probes),
    }
    so_far = None if validations is None else [row for row in validations if row.step <= trained_to(step)]
    return Summary(
        step=step,
        means={**_means(samples), **_means(drawn.probes)},
        deltas=deltas,
        composite=composite(deltas, mixture),
        guards={column.name: _excess(samples, baseline, column) for column in metrics.of_role("guard")},
        skills=_skills(samples, anchors, metrics),
        ratios=ratios,
        validated=next((row for row in so_far or () if row.step == step), None),
        signals=(
            *overfitting.signals(samples, baseline, so_far, metrics),
            *signs.signs(drawn.probes, base.probes, metrics.of_probes),
        )
        if step
        else (),
        figures=drawn.figures,
    )


def _means(samples: Sequence[Sample]) -> dict[str, float]:
    columns = dict.fromkeys(column for sample in samples for column in sample.metrics)
    return {column: mean(values) for column in columns if (values := by_prompt(samples, column))}


def _skills(
    samples: Sequence[Sample], anchors: Mapping[str, Anchors], metrics: MetricDescriptions
) -> dict[str, Estimate]:
    """Each loss on its own scale from floor to ceiling; one without such a scale is absent."""
    skills: dict[str, Estimate] = {}
    for column in metrics.losses:
        ends, losses = anchors.get(column.name), estimate(by_prompt(samples, column.name).values())
        if ends is not None and losses is not None and has_scale(ends, column.worsening):
            skills[column.name] = skill(losses, ends)
    return skills


def _excess(samples: Sequence[Sample], baseline: Sequence[Sample], column: Column) -> PromptValues:
    """How much better a guard is than the worse of step 0's and the real picture's."""
    worse, floors = min if column.direction == "higher" else max, []
    both = (column.name, column.guard.real if column.guard else "")
    for sample in baseline:
        known = [value for name in both if (value := sample.metrics.get(name)) is not None]
        floors.append(sample.model_copy(update={"metrics": {column.name: worse(known, default=None)}}))
    differences = paired_deltas(samples, floors, column.name)
    return {prompt: -column.worsening * difference for prompt, difference in differences.items()}
