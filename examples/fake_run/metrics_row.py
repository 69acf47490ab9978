"""One line of metrics.csv, from the evaluation of a snapshot."""

from __future__ import annotations

import math
import statistics

from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.records.best import Interval
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.tables import Value


def metrics_row(
    result: EvaluationResult, base: EvaluationResult | None, descriptions: MetricDescriptions, spread: float = 0.03
) -> dict[str, Value]:
    """One line of metrics.csv: the mean of every metric, and its paired difference to step 0; `spread`, of the
    composite."""
    row: dict[str, Value] = {
        "step": result.step,
        "timestamp": result.created,
        "status": result.status,
        "reason": result.reason,
        "evaluation_seconds": sum(result.seconds.values()),
        **{key: result.training.get(key) for key in ("epoch", "learning_rate")},
        "total_loss": result.training.get("loss"),
        "composite": None,
    }
    if result.status == "failed" or base is None:
        return row
    relative: list[float] = []
    for column in descriptions.compared:
        name = column.name
        values, before = per_prompt(result, name), per_prompt(base, name)
        row[name] = round(statistics.fmean(values), 5) if values else None
        if not values or result.step == 0:
            continue
        differences = [value - old for value, old in zip(values, before, strict=True)]
        found = interval(differences)
        row |= {f"{name}_{part}": round(number, 5) for part, number in found.model_dump().items()}
        if column.role == "loss":
            relative.append(column.worsening * found.delta / statistics.fmean(before))
    if relative:
        middle, spread = statistics.fmean(relative), spread
        row |= {"composite": middle, "composite_low": middle - spread, "composite_high": middle + spread}
    return row


def per_prompt(result: EvaluationResult, name: str) -> list[float]:
    """A metric's mean over the seeds of each prompt; empty when it is blank."""
    groups: dict[str, list[float]] = {}
    for sample in result.samples:
        value = sample.metrics.get(name)
        if value is None:
            return []
        groups.setdefault(sample.prompt_id, []).append(value)
    return [statistics.fmean(group) for group in groups.values()]


def interval(differences: list[float]) -> Interval:
    """Mean and its 95 % t-interval for eight prompts."""
    middle = statistics.fmean(differences)
    half = 2.365 * statistics.stdev(differences) / math.sqrt(len(differences))
    return Interval(delta=middle, low=middle - half, high=middle + half)


def number_of(row: dict[str, Value], column: str) -> float | None:
    """A cell as a number."""
    value = row.get(column)
    return float(value) if value is not None else None


def interval_of(row: dict[str, Value], metric: str, middle: str) -> Interval | None:
    """Three cells as an interval."""
    delta, low, high = (number_of(row, column) for column in (middle, f"{metric}_low", f"{metric}_high"))
    return None if delta is None or low is None or high is None else Interval(delta=delta, low=low, high=high)
