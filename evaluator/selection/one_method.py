"""Numbers of one column that were computed in two ways are not compared with one another. Pure.

A run that a newer version resumes, or that is evaluated with another encoder, has such columns. Their values stay in
`metrics.csv`. Differences, composite and guards leave them out for the whole run: all snapshots are judged alike.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from shared.run_folder.metric_descriptions import Column, MetricDescriptions
from shared.run_folder.records.evaluation_result import EvaluationResult


def computed_in_two_ways(metrics: MetricDescriptions, results: Iterable[EvaluationResult]) -> tuple[Column, ...]:
    """The compared columns whose numbers come from more than one encoder or method."""
    ways: dict[str, set[Hashable]] = {column.name: set() for column in metrics.compared}
    for result in results:
        for name in ways:
            if any(sample.metrics.get(name) is not None for sample in result.samples):
                ways[name].add(_way(result.encoders.get(name) or {}))
    return tuple(column for column in metrics.compared if len(ways[column.name]) > 1)


def _way(encoder: Mapping[str, Any]) -> Hashable:
    """The weights decide: the same file may lie elsewhere by now. Without weights, the name and the revision."""
    return encoder.get("digest") or (encoder.get("model"), encoder.get("revision"))
