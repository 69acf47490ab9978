"""Every snapshot against the base model, number by number: what the table of all of them adds to the filmstrip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import Any

from dashboard.data.reader import RunReader
from dashboard.data.sure import is_sure
from dashboard.story.wording import capital, short
from dashboard.text.formatting import composite_column, difference, metric_title, signed
from dashboard.text.language import say
from shared.run_folder.metric_descriptions import COMPOSITE
from shared.run_folder.metric_descriptions import Column as Metric
from shared.run_folder.records.best import Best, Confirmation

MAX_NOTE = 200
"""Characters of a note in the table; the whole of it stands beside the snapshot."""


@dataclass(frozen=True)
class Column:
    """One number that every evaluated snapshot has."""

    name: str
    title: str
    help: str
    best_first: str
    """The order in which the best number comes first: the name, with a minus where numbers descend."""


@dataclass(frozen=True)
class Value:
    """A difference to the base model."""

    delta: float
    """More is better, whatever the metric's own direction, as in the interval: for the bar."""
    low: float | None
    """None, as `high`: no interval, because there is only one prompt."""
    high: float | None
    better: bool | None
    """None: the evaluator is not sure, or it is not for this metric to say."""
    number: float
    """The middle in the metric's own direction."""
    text: str
    """The same, as it is shown."""
    words: str
    """With its interval."""


@dataclass(frozen=True)
class Line:
    """One snapshot."""

    verdict: str
    values: tuple[Value | None, ...]
    """In the order of the columns; None where there is no number."""
    note: str


@dataclass(frozen=True)
class Table:
    """All of a run."""

    columns: tuple[Column, ...]
    lines: Mapping[int, Line]


def table(reader: RunReader) -> Table:
    """What is known of the published snapshots. A metric without a number in any of them has no column."""
    rows, best, notes = reader.rows(), reader.best(), reader.notes()
    steps = (*reader.snapshot_steps(), *reader.averages())
    values = {metric: tuple(value_of(metric, rows.get(step)) for step in steps) for metric in _metrics(reader)}
    measured = [metric for metric, known in values.items() if any(known)] or list(values)
    columns = tuple(Column(one.name, capital(say(one.topic)), _help(one), _best_first(one)) for one in measured)
    lines = {
        step: Line(
            _words(reader, step, verdict_words(step, rows.get(step), best)),
            tuple(values[metric][at] for metric in measured),
            short(notes.texts.get(step, ""), MAX_NOTE) if notes else "",
        )
        for at, step in enumerate(steps)
    }
    return Table(columns, lines)


def _words(reader: RunReader, step: int, verdict: str) -> str:
    """The verdict, and whether its weights are still there."""
    return say("{verdict}; weights deleted", verdict=verdict) if step in reader.deleted_steps() else verdict


def _metrics(reader: RunReader) -> list[Metric]:
    return [composite_column(), *reader.descriptions.compared]


def value_of(metric: Metric, row: Mapping[str, Any] | None) -> Value | None:
    """A row of `metrics.csv` → how the snapshot differs by this metric."""
    name, cells = metric.name, row or {}
    middle = name if name == COMPOSITE[0] else f"{name}_delta"
    delta, low, high = (number_in(cells, key) for key in (middle, f"{name}_low", f"{name}_high"))
    if not isfinite(delta):
        return None
    turned, words = -metric.worsening or 1, difference(metric, delta, low, high)
    shown = Value(turned * delta, None, None, None, delta, signed(delta, metric.decimals), words)
    if not (isfinite(low + high) and metric.is_told(low, high)):
        return shown
    least, most = sorted((turned * low, turned * high))
    is_sure_of_it = metric.role == "loss" and is_sure(cells.get("sure"), name) and not least <= 0 <= most
    return replace(shown, low=least, high=most, better=least > 0 if is_sure_of_it else None)


def number_in(row: Mapping[str, Any], name: str) -> float:
    """NaN where there is none."""
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) else nan


def verdict_words(step: int, row: Mapping[str, Any] | None, best: Best | None = None) -> str:
    """Better or worse than the base model only where the evaluator is sure of it; what the final decided."""
    if row is None:
        return say("not evaluated yet")
    if row.get("status") == "failed":
        return say("could not be evaluated: {reason}", reason=row.get("reason"))
    if row.get("status") == "skipped":
        return say("skipped: {reason}", reason=row.get("reason"))
    low, high = row.get("composite_low", nan), row.get("composite_high", nan)
    is_ranked = best is None or best.ranked
    if is_ranked and not all(map(isfinite, (low, high))):
        return say("evaluated, no interval")
    words = say("no clear difference from the base model") if is_ranked else say("evaluated, no metric ranks it")
    if is_ranked and is_sure(row.get("sure"), "composite") and not low <= 0 <= high:
        words = say("better than the base model (95 %)") if high < 0 else say("worse than the base model (95 %)")
    if signs := [say(name) for name in signs_of(row)]:
        words = say("{verdict}; signs of overfitting: {signs}", verdict=words, signs=", ".join(signs))
    if best and best.confirmation and step in best.confirmation.finalists:
        words = f"{words}; {final_words(step, best.confirmation)}"
    return words


def final_words(step: int, final: Confirmation) -> str:
    """What evaluating the finalists again decided for one of them."""
    if step != final.step:
        return say("the final chose step {step}", step=final.step)
    if final.better_than_base:
        return say("chosen by the final")
    return say("chosen by the final, not proven better than the base model there")


def signs_of(row: Mapping[str, Any] | None) -> list[str]:
    """Names of the signs of overfitting that a snapshot shows."""
    return [name for name in str((row or {}).get("signals") or "").split() if name != "nan"]


def _best_first(metric: Metric) -> str:
    return metric.name if metric.direction == "lower" else f"-{metric.name}"


def _help(metric: Metric) -> str:
    """What the column shows, and which side is better in the metric's own direction."""
    better = {"lower": say("lower is better"), "higher": say("higher is better"), "none": ""}[metric.direction]
    name = f"{metric_title(metric)} ({better})" if better else metric_title(metric)
    return f"{name}: {say(metric.meaning)}"
