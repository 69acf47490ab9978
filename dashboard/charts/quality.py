"""What the evaluator finds: each metric's paired difference to the base model, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dashboard.charts.axis import Look, XAxis
from dashboard.charts.parts import (
    GRAY,
    GREEN,
    ORANGE,
    PAGE,
    RED,
    VIOLET,
    Figure,
    Panel,
    Part,
    Trace,
    marks,
    packed,
    part_of,
    stack,
)
from dashboard.data.series import Numbers
from dashboard.data.sure import is_sure
from dashboard.text.formatting import composite_column, difference, measured, metric_name, metric_title
from dashboard.text.language import say
from shared.run_folder.metric_descriptions import Column, MetricDescriptions

MAX_DESCRIBED = 300
ANCHOR_NAMES = {"shuffled": "shuffled pairs", "real": "real against real"}
ANCHOR_COLORS = {"shuffled": VIOLET, "real": GREEN}
ANCHOR_SIDES = {"shuffled": "start", "real": "end"}
"""Of the panel, for their names: the lines may lie close together."""
Anchors = Mapping[str, Mapping[str, float | None]]


def quality_figure(
    metrics: pd.DataFrame,
    descriptions: MetricDescriptions,
    best_step: int | None,
    missing: Mapping[str, Mapping[int, str]],
    axis: XAxis,
    look: Look,
    last_step: int,
    anchors: Anchors | None = None,
    part: Part = "all",
) -> Figure:
    """The composite and every metric over the snapshots; the best one starred, missing marked with their reason.

    Args:
        metrics: rows of metrics.csv.
        descriptions: what its columns mean.
        best_step: the step to star.
        missing: metric → step → why there is no value, failed evaluations included.
        axis: shared with the training figure.
        look: only its window and anchors matter here; a difference has no logarithm.
        last_step: where the axis ends.
        anchors: metric → `shuffled` and `real` → value, drawn as lines where wanted.
        part: the first is the composite, else the first metric that has numbers.
    """
    panels = [composite_panel(metrics, best_step, axis)] if np.isfinite(metrics["composite"].to_numpy()).any() else []
    columns = descriptions.compared
    if not panels:
        columns = sorted(columns, key=lambda column: differences(metrics, column.name).empty)
    for column in columns:
        ends = (anchors or {}).get(column.name, {})
        points, worsening = differences(metrics, column.name), direction(column, metrics, ends)
        lines = anchor_lines(column.name, metrics, ends) if look.anchors else []
        traces = [
            difference_trace(points, column, axis, worsening),
            blank_trace(missing.get(column.name, {}), metric_name(column), axis),
            star(points, best_step, axis),
        ]
        panels.append(Panel(panel_title(column, worsening), 92, traces, VERTICAL, lines))
    panels += further_panels(metrics, descriptions, axis)
    return stack(part_of(panels, 1, part), axis, last_step)


VERTICAL: dict[str, Any] = {"tickformat": "+.3~g", "nticks": 5, "zeroline": True}


def direction(column: Column, metrics: pd.DataFrame, anchors: Mapping[str, float | None]) -> int:
    """1: a higher number is worse, −1: a lower one, 0: neither.

    A guard has no direction where real pictures score worse than the base model: its encoder does not know the concept,
    and knows what the base model draws instead.
    """
    base, real = base_value(column.name, metrics), anchors.get("real")
    if column.guard and base is not None and real is not None and column.worsening * (real - base) > 0:
        return 0
    return column.worsening


def base_value(name: str, metrics: pd.DataFrame) -> float | None:
    """What the base model scores; None until it is evaluated."""
    values = metrics[name].to_numpy(dtype=float)[metrics["step"].to_numpy() == 0]
    return float(values[0]) if len(values) and np.isfinite(values[0]) else None


def panel_title(column: Column, worsening: int) -> str:
    """Which way is better is part of the name."""
    if column.direction == "none":
        return say("{metric} vs base model", metric=metric_title(column))
    words = {1: say("lower is better"), -1: say("higher is better"), 0: say("real pictures score lower too")}
    if worsening == 0 and column.direction == "lower":
        words[0] = say("real pictures score higher too")
    return say("{metric} vs base model ({better})", metric=metric_title(column), better=words[worsening])


def further_panels(metrics: pd.DataFrame, descriptions: MetricDescriptions, axis: XAxis) -> list[Panel]:
    """Small charts of the values that are not compared with step 0 prompt by prompt, where there are any."""
    panels: list[Panel] = []
    for column in descriptions.charted:
        if trace := value_trace(metrics, column, axis):
            panels.append(Panel(f"{metric_title(column)}: {say(column.meaning)}", 56, [trace], {"nticks": 3}))
    return panels


def value_trace(metrics: pd.DataFrame, column: Column, axis: XAxis) -> Trace:
    """Values as they are, joined; a click chooses the step."""
    values = metrics[column.name].to_numpy(dtype=float)
    known = np.isfinite(values)
    if not known.any():
        return {}
    steps, values = metrics["step"].to_numpy(dtype=float)[known], values[known]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": metric_name(column),
        "x": packed(axis.at(steps), axis.dtype),
        "y": packed(values, "f4"),
        "customdata": packed(steps, "i4"),
        "line": {"color": GRAY, "width": 1},
        "marker": {"size": 5, "color": GRAY},
        "hovertemplate": f"%{{y:.{column.decimals}f}}",
        "showlegend": False,
    }


def composite_panel(metrics: pd.DataFrame, best_step: int | None, axis: XAxis) -> Panel:
    """The weighted sum the verdict goes by, in standard deviations."""
    parts = {"delta": "composite", "low": "composite_low", "high": "composite_high"}
    values = {"step": metrics["step"], "value": np.nan, "sure": sure(metrics, "composite")}
    points = pd.DataFrame(values | {part: metrics[column] for part, column in parts.items()})
    points.loc[points["step"] == 0, ["delta", "low", "high"]] = 0.0
    points = points.dropna(subset=["delta"])
    traces = [*band(points, axis), difference_trace(points, composite_column(), axis, 1), star(points, best_step, axis)]
    return Panel(say("composite of all losses vs base model (lower is better)"), 110, traces, VERTICAL)


def band(points: pd.DataFrame, axis: XAxis) -> list[Trace]:
    """The intervals as a surface behind the points."""
    known = points.dropna(subset=["low", "high"])
    if len(known) < 2:
        return []
    x = axis.at(known["step"].to_numpy(dtype=float))
    edge = {"type": "scatter", "mode": "lines", "x": packed(x, axis.dtype), "line": {"width": 0, "color": GRAY}}
    quiet = {"hoverinfo": "skip", "showlegend": False}
    return [
        edge | quiet | {"name": "low", "y": packed(known["low"].to_numpy(dtype=float), "f4")},
        edge
        | quiet
        | {
            "name": "high",
            "y": packed(known["high"].to_numpy(dtype=float), "f4"),
            "fill": "tonexty",
            "fillcolor": "rgba(128, 138, 150, 0.16)",
        },
    ]


def differences(metrics: pd.DataFrame, name: str) -> pd.DataFrame:
    """step, value, sure, delta, low, high of one metric; step 0 differs from itself by nothing."""
    parts = {part: metrics.get(f"{name}_{part}", np.nan) for part in ("delta", "low", "high")}
    points = pd.DataFrame({"step": metrics["step"], "value": metrics[name], "sure": sure(metrics, name), **parts})
    base = (points["step"] == 0) & points["value"].notna()
    points.loc[base, list(parts)] = 0.0
    return points.dropna(subset=["delta"])


def sure(metrics: pd.DataFrame, name: str) -> list[bool]:
    """Of each snapshot, whether the evaluator is sure that it differs."""
    return [is_sure(cell, name) for cell in metrics["sure"]] if "sure" in metrics else [True] * len(metrics)


def difference_trace(points: pd.DataFrame, column: Column, axis: XAxis, worsening: int) -> Trace:
    """Dots with whiskers; `customdata` holds the step, which a click chooses. Sure differences have a colour.

    An interval that says nothing has no whisker.
    """
    if points.empty:
        return {}
    told = [column.is_told(low, high) for low, high in zip(points["low"], points["high"], strict=True)]
    described, points = points, points.assign(**{end: points[end].where(told) for end in ("low", "high")})
    steps, delta, low, high = (points[part].to_numpy(dtype=float) for part in ("step", "delta", "low", "high"))
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": metric_name(column),
        "x": packed(axis.at(steps), axis.dtype),
        "y": packed(delta, "f4"),
        "customdata": packed(steps, "i4"),
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": packed(high - delta, "f4"),
            "arrayminus": packed(delta - low, "f4"),
            "width": 0,
            "thickness": 1.5,
            "color": GRAY,
        },
        "line": {"color": GRAY, "width": 1},
        "marker": {
            "size": 7,
            "color": packed(verdicts(worsening * low, worsening * high) * points["sure"].to_numpy(), "i1"),
            "colorscale": [[0, GREEN], [0.5, GRAY], [1, RED]],
            "cmin": -1,
            "cmax": 1,
        },
        **hover(described, column),
        "showlegend": False,
    }


def verdicts(one_end: Numbers, other_end: Numbers) -> Numbers:
    """−1 (better) or 1 (worse) where the interval excludes zero, else 0; negative differences are better."""
    return (np.minimum(one_end, other_end) > 0).astype(float) - (np.maximum(one_end, other_end) < 0)


def hover(points: pd.DataFrame, column: Column) -> dict[str, Any]:
    """The numbers of each point in words; of very many only the difference, for words are long."""
    if len(points) > MAX_DESCRIBED:
        return {"hovertemplate": f"%{{y:+.{column.decimals}f}}"}
    rows = points[["value", "delta", "low", "high"]].itertuples(index=False)
    return {"text": [describe(column, *row) for row in rows], "hovertemplate": "%{text}"}


def describe(column: Column, value: float, delta: float, low: float, high: float) -> str:
    """The numbers of a point in words."""
    text = difference(column, delta, low, high)
    if not np.isfinite(value):
        return text
    return say("{difference}, value {value}", difference=text, value=measured(column, value))


def blank_trace(reasons: Mapping[int, str], name: str, axis: XAxis) -> Trace:
    """A red cross where there should be a number, with the reason."""
    if not reasons:
        return {}
    x = axis.at(np.asarray([*reasons], dtype=float))
    label = say("{metric}: no value", metric=name)
    return marks(x, 0.0, "x-thin-open", RED, axis, name=label, text=[*reasons.values()])


def star(points: pd.DataFrame, best_step: int | None, axis: XAxis) -> Trace:
    """The best snapshot's point."""
    at_best = points["step"].to_numpy(dtype=float) == best_step
    if not at_best.any():
        return {}
    steps, delta = (points[name].to_numpy(dtype=float)[at_best] for name in ("step", "delta"))
    made = marks(axis.at(steps), float(delta[0]), "star", ORANGE, axis, name=say("best"), text=say("best snapshot"))
    made["marker"] |= {"size": 13, "line": {"width": 1, "color": PAGE}}
    return made | {"hoverinfo": "skip", "hovertemplate": None, "customdata": packed(steps, "i4")}


def anchor_lines(name: str, metrics: pd.DataFrame, anchors: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """Where mismatched pairs and two real pictures stand, on the same scale of differences to step 0."""
    base = base_value(name, metrics)
    if base is None:
        return []
    return [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": value - base,
            "y1": value - base,
            "line": {"color": ANCHOR_COLORS[kind], "width": 1, "dash": "dash"},
            "label": {"text": say(ANCHOR_NAMES[kind]), "textposition": ANCHOR_SIDES[kind], "font": {"size": 10}},
        }
        for kind in ANCHOR_NAMES
        if (value := anchors.get(kind)) is not None
    ]
