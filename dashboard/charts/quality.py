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
    Trace,
    marks,
    packed,
    stack,
)
from dashboard.data.series import Numbers
from dashboard.text.formatting import interval, metric_name, number, signed
from dashboard.text.language import say
from shared.run_folder.tables import COMPARED_METRICS

HIGHER_IS_BETTER = frozenset({"clip_t", "diversity"})
MAX_DESCRIBED = 300
FURTHER = {
    "diversity": "1 is the base model's, falling is bad",
    "copy_max": "to a picture trained on, high is bad",
    "nn_ratio": "1 is what held-out pictures show, lower is bad",
    "drift": "from what the base model draws",
}
ANCHOR_NAMES = {"shuffled": "shuffled pairs", "real": "real against real"}
ANCHOR_COLORS = {"shuffled": VIOLET, "real": GREEN}
ANCHOR_SIDES = {"shuffled": "start", "real": "end"}
"""Of the panel, for their names: the lines may lie close together."""
Anchors = Mapping[str, Mapping[str, float | None]]


def quality_figure(
    metrics: pd.DataFrame,
    best_step: int | None,
    missing: Mapping[str, Mapping[int, str]],
    axis: XAxis,
    look: Look,
    last_step: int,
    anchors: Anchors | None = None,
) -> Figure:
    """The composite and every metric over the snapshots; the best one starred, missing marked with their reason.

    Args:
        metrics: rows of metrics.csv.
        best_step: the step to star.
        missing: metric → step → why there is no value, failed evaluations included.
        axis: shared with the training figure.
        look: only its window and anchors matter here; a difference has no logarithm.
        last_step: where the axis ends.
        anchors: metric → `shuffled` and `real` → value, drawn as lines where wanted.
    """
    panels = [composite_panel(metrics, best_step, axis)] if np.isfinite(metrics["composite"].to_numpy()).any() else []
    for name in compared_metrics(metrics):
        points, better = differences(metrics, name), direction(name, metrics, (anchors or {}).get(name, {}))
        lines = anchor_lines(name, metrics, (anchors or {}).get(name, {})) if look.anchors else []
        traces = [difference_trace(points, name, axis, better), blank_trace(missing.get(name, {}), name, axis)]
        panels.append(Panel(panel_title(name, better), 92, [*traces, star(points, best_step, axis)], VERTICAL, lines))
    return stack([*panels, *further_panels(metrics, axis)], axis, last_step)


VERTICAL: dict[str, Any] = {"tickformat": "+.3~g", "nticks": 5, "zeroline": True}


def compared_metrics(metrics: pd.DataFrame) -> list[str]:
    """The metrics that are compared with step 0, those a newer evaluator adds included where they have values."""
    added = [str(column).removesuffix("_delta") for column in metrics.columns if str(column).endswith("_delta")]
    filled = [
        name
        for name in added
        if name not in COMPARED_METRICS and np.isfinite(metrics[f"{name}_delta"].to_numpy()).any()
    ]
    return [*COMPARED_METRICS, *(name for name in filled if name in metrics)]


def direction(name: str, metrics: pd.DataFrame, anchors: Mapping[str, float | None]) -> int:
    """1: lower is better, −1: higher. 0: neither, for real pictures score below the base model, as in `clip_t` of a
    garment the base draws as what its encoder knows."""
    if name not in HIGHER_IS_BETTER:
        return 1
    base, real = base_value(name, metrics), anchors.get("real")
    return 0 if base is not None and real is not None and real < base else -1


def base_value(name: str, metrics: pd.DataFrame) -> float | None:
    """What the base model scores; None until it is evaluated."""
    found = metrics[name].to_numpy(dtype=float)[metrics["step"].to_numpy() == 0]
    return float(found[0]) if len(found) and np.isfinite(found[0]) else None


def panel_title(name: str, better: int) -> str:
    """Which way is better is part of the name."""
    words = {1: say("lower is better"), -1: say("higher is better"), 0: say("real pictures score lower too")}
    return say("{metric}, difference to step 0 ({better})", metric=metric_name(name), better=words[better])


def further_panels(metrics: pd.DataFrame, axis: XAxis) -> list[Panel]:
    """Small charts of the values that are not compared with step 0 prompt by prompt, where there are any."""
    panels: list[Panel] = []
    for name, meaning in FURTHER.items():
        if name in metrics and (trace := value_trace(metrics, name, axis)):
            panels.append(Panel(f"{metric_name(name)}: {say(meaning)}", 56, [trace], {"nticks": 3}))
    return panels


def value_trace(metrics: pd.DataFrame, name: str, axis: XAxis) -> Trace:
    """Values as they are, joined; a click chooses the step."""
    values = metrics[name].to_numpy(dtype=float)
    known = np.isfinite(values)
    if not known.any():
        return {}
    steps, values = metrics["step"].to_numpy(dtype=float)[known], values[known]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": metric_name(name),
        "x": packed(axis.at(steps), axis.dtype),
        "y": packed(values, "f4"),
        "customdata": packed(steps, "i4"),
        "line": {"color": GRAY, "width": 1},
        "marker": {"size": 5, "color": GRAY},
        "hovertemplate": "%{y:.3f}",
        "showlegend": False,
    }


def composite_panel(metrics: pd.DataFrame, best_step: int | None, axis: XAxis) -> Panel:
    """The weighted sum the verdict goes by, in standard deviations."""
    parts = {"delta": "composite", "low": "composite_low", "high": "composite_high"}
    points = pd.DataFrame({"step": metrics["step"], "value": np.nan} | {k: metrics[c] for k, c in parts.items()})
    points.loc[points["step"] == 0, ["delta", "low", "high"]] = 0.0
    points = points.dropna(subset=["delta"])
    traces = [difference_trace(points, "composite", axis), star(points, best_step, axis)]
    return Panel(say("composite of all losses, against step 0 (lower is better)"), 110, traces, VERTICAL)


def differences(metrics: pd.DataFrame, name: str) -> pd.DataFrame:
    """step, value, delta, low, high of one metric; step 0 differs from itself by nothing."""
    parts = {part: metrics.get(f"{name}_{part}", np.nan) for part in ("delta", "low", "high")}
    points = pd.DataFrame({"step": metrics["step"], "value": metrics[name], **parts})
    base = (points["step"] == 0) & points["value"].notna()
    points.loc[base, list(parts)] = 0.0
    return points.dropna(subset=["delta"])


def difference_trace(points: pd.DataFrame, name: str, axis: XAxis, better: int = 1) -> Trace:
    """Dots with whiskers; `customdata` holds the step, which a click chooses."""
    if points.empty:
        return {}
    steps, delta, low, high = (points[part].to_numpy(dtype=float) for part in ("step", "delta", "low", "high"))
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": metric_name(name),
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
            "color": packed(verdicts(better * low, better * high), "i1"),
            "colorscale": [[0, GREEN], [0.5, GRAY], [1, RED]],
            "cmin": -1,
            "cmax": 1,
        },
        **hover(points),
        "showlegend": False,
    }


def verdicts(one_end: Numbers, other_end: Numbers) -> Numbers:
    """−1 (better) or 1 (worse) only where the interval excludes zero, else 0; negative differences are better."""
    return (np.minimum(one_end, other_end) > 0).astype(float) - (np.maximum(one_end, other_end) < 0)


def hover(points: pd.DataFrame) -> dict[str, Any]:
    """The numbers of each point in words; of very many only the difference, for words are long."""
    if len(points) > MAX_DESCRIBED:
        return {"hovertemplate": "%{y:+.3f}"}
    rows = points[["value", "delta", "low", "high"]].itertuples(index=False)
    return {"text": [describe(*row) for row in rows], "hovertemplate": "%{text}"}


def describe(value: float, delta: float, low: float, high: float) -> str:
    """The numbers of a point in words."""
    text = f"{signed(delta)} {interval(low, high)}"
    return say("{difference}, value {value}", difference=text, value=number(value)) if np.isfinite(value) else text


def blank_trace(reasons: Mapping[int, str], name: str, axis: XAxis) -> Trace:
    """A red cross where there should be a number, with the reason."""
    if not reasons:
        return {}
    x = axis.at(np.asarray([*reasons], dtype=float))
    label = say("{metric}: no value", metric=metric_name(name))
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
