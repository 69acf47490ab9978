"""What a metric's file says of itself: `METRIC = Metric(...)`, found by `tasks.text_to_image.metrics`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from shared.run_folder.metric_descriptions import Column, MetricDescription
from tasks.text_to_image.probes import ProbeKind
from tasks.text_to_image.scoring.features import Feature, Features
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

Need = Literal["references", "prompts", "seeds", "base", "training", "sources"]
"""What a metric looks at beside the samples; `seeds` are several samples of one prompt."""


class Compute(Protocol):
    """The computation of a metric. Raises DarkroomError when what it needs cannot be had."""

    def __call__(self, metric_input: MetricInput, features: Features) -> Sequence[Row]:
        """One row for each sample, in order."""
        ...


@dataclass(frozen=True)
class Metric:
    """A computation and the columns it fills, those with a `ratio` excepted: these follow from the others."""

    name: str
    order: int
    """Metrics stand in this order in `metrics.csv` and on the page."""
    columns: tuple[Column, ...]
    compute: Compute
    needs: tuple[Need, ...] = ()
    instead_of_references: tuple[Need, ...] = ()
    """What it takes for a prompt that has no reference, where it needs one. Empty: such a prompt has no value of it."""
    features: tuple[Feature[Any, Any], ...] = ()
    """What it looks through. The encoder of the first that has one is recorded for its columns."""
    missing_reason: str = ""
    """What a single blank means when the computation as a whole succeeds."""
    by_default: bool = True
    """False: computed only where it is named."""
    setting: str = ""
    """Of `evaluation`: without a value of it the metric is not computed."""
    alone: bool = False
    """Where it is computed, no other metric is."""
    for_own_prompts: bool = False
    """Computed only in runs that have prompts of a person's own."""

    for_edits: bool = False
    """Computed only in runs of an edit model: `data.sources`."""
    of_probes: ProbeKind | None = None
    """Computed only on the pictures of probe prompts of this kind."""

    @property
    def row_columns(self) -> tuple[str, ...]:
        """Those that `compute` fills."""
        return tuple(column.name for column in self.columns if not column.ratio)

    @property
    def is_pairwise(self) -> bool:
        """Needs no more than a reference, a sample and a prompt."""
        return set(self.needs) <= {"references", "prompts"}

    @property
    def needs_without_references(self) -> frozenset[Need] | None:
        """What it needs for prompts that have no real picture; None: it cannot be computed for these."""
        if "references" in self.needs and not self.instead_of_references:
            return None
        return frozenset(self.needs) - {"references"} | frozenset(self.instead_of_references)

    def describe(self) -> MetricDescription:
        """What the run folder says of it."""
        return MetricDescription(name=self.name, needs=self.needs, columns=self.columns)
