"""Columns that another version computed and this one does not: their numbers stay in metrics.csv. Pure."""

from __future__ import annotations

from collections.abc import Collection

from shared.run_folder.metric_descriptions import COMPARED_ROLES, Column, MetricDescriptions


def keeping(now: MetricDescriptions, before: MetricDescriptions, filled: Collection[str]) -> MetricDescriptions:
    """What is computed now, and behind it what was before, without a say in the verdict.

    filled: columns of the table that have a number. A former one without is dropped.
    """
    known = {column.name for column in now.columns}
    former = {column.name: column for column in before.columns if column.name not in known}
    kept = former.keys() & set(filled)
    wanted = kept | {part for name in kept if (ratio := former[name].ratio) for part in (ratio.of, ratio.over)}
    metrics = [
        metric.model_copy(update={"columns": columns})
        for metric in before.metrics
        if (columns := tuple(_voiceless(column) for column in metric.columns if column.name in wanted - known))
    ]
    return now.model_copy(update={"metrics": (*now.metrics, *metrics)})


def _voiceless(column: Column) -> Column:
    role = "compared" if column.role in COMPARED_ROLES else "shown" if column.sign else column.role
    return column.model_copy(update={"role": role, "weight": 0.0, "guard": None, "sign": None, "leading": False})
