"""The charts: tables in, Plotly figures out, as plain dictionaries. Nothing here reads a file or knows of Streamlit.

Colours are names of the page's CSS variables (`--st-blue-color`), which the browser replaces, so that one figure serves
light and dark. Numbers travel as typed arrays, thinned by `dashboard.series`.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.series import MAX_POINTS, Numbers, moving_average, thin
from dashboard.words import interval, metric_name, number, signed
from shared.tables import COMPARED_METRICS

Figure = dict[str, Any]
Trace = dict[str, Any]

SPARSE_POINTS = 40
MIB_PER_GIB = 1024
GPU_MEMORY = {
    "allocated": "gpu_allocated_mib",
    "reserved": "gpu_reserved_mib",
    "device, all processes": "gpu_device_used_mib",
}
HIGHER_IS_BETTER = frozenset({"clip_t"})

TEXT, MUTED, GRID = "--st-text-color", "--st-gray-text-color", "--st-border-color"
BLUE, GREEN, ORANGE, RED, GRAY = (f"--st-{name}-color" for name in ("blue", "green", "orange", "red", "gray"))

TITLE_PIXELS = 28
MARGIN = {"l": 58, "r": 14, "t": 4, "b": 40}


@dataclass(frozen=True)
class Events:
    """What happened at which step, beside training itself."""

    snapshots: Sequence[int] = ()
    evaluated: Sequence[int] = ()
    failed: dict[int, str] = field(default_factory=dict)
    stops: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """One of the charts stacked over a common step axis."""

    title: str
    pixels: int
    axis: dict[str, Any] = field(default_factory=dict)


def training_figure(train: pd.DataFrame, events: Events, span: float, last_step: int) -> Figure:
    """Loss, learning rate and memory over steps, with a lane of events below."""
    memory_title, memory = _memory_traces(train, "y3")
    panels = [
        Panel("training loss", 210, {"rangemode": "tozero"}),
        Panel("learning rate", 64, {"rangemode": "tozero", "exponentformat": "e", "nticks": 3}),
        Panel(memory_title, 64, {"rangemode": "tozero", "nticks": 3}),
        Panel("events", 30, {"range": [-0.6, 2.6], "visible": False, "fixedrange": True}),
    ]
    learning_rate = _line(train, "learning_rate", "learning rate", "y2", GRAY, hover="%{y:.3g}")
    traces = [*_loss_traces(train, span), learning_rate, *memory, *_event_traces(events, "y4")]
    return _stack(panels, traces, last_step, shapes=[_vertical_line(step) for step in events.stops])


def quality_figure(
    metrics: pd.DataFrame, best_step: int | None, blanks: dict[str, dict[int, str]], last_step: int
) -> Figure:
    """Each quality metric's paired difference to step 0 with its 95 % interval; the best snapshot starred.

    Args:
        metrics: rows of metrics.csv.
        best_step: the step to star.
        blanks: metric → step → why there is no value, evaluations that failed included.
        last_step: where the step axis ends.
    """
    panels = [_metric_panel(name) for name in COMPARED_METRICS]
    traces: list[Trace] = []
    for number_, name in enumerate(COMPARED_METRICS, 1):
        axis = _axis_name(number_)
        points = _differences(metrics, name)
        traces += [_difference_trace(points, name, axis), _blank_trace(blanks.get(name, {}), name, axis)]
        traces += [_star(points.query("step == @best_step"), axis)]
    return _stack(panels, [trace for trace in traces if trace], last_step)


def _loss_traces(train: pd.DataFrame, span: float) -> list[Trace]:
    steps, loss = train["step"].to_numpy(), train["loss"].to_numpy()
    smooth = pd.DataFrame({"step": steps, "loss": moving_average(steps, loss, span)})
    raw = _line(train, "loss", "each step", "y", BLUE, width=1) | {"opacity": 0.35, "showlegend": True}
    average = _line(smooth, "loss", f"average of {span:.0f}", "y", BLUE, width=2) | {"showlegend": True}
    missing = steps[~np.isfinite(loss)]
    if not len(missing):
        return [raw, average]
    blanks = _marks(missing[-MAX_POINTS:], 0.0, "y", "x-thin-open", RED, ["not a number"] * len(missing[-MAX_POINTS:]))
    return [raw, average, blanks | {"name": "loss"}]


def _memory_traces(train: pd.DataFrame, axis: str) -> tuple[str, list[Trace]]:
    """Memory of the GPU where there is one, else of the process, in GiB."""
    columns = {name: column for name, column in GPU_MEMORY.items() if len(train[column].dropna())}
    title = "GPU memory, GiB" if columns else "memory of the trainer (RSS), GiB"
    columns = columns or {"resident": "process_rss_mib"}
    in_gib = train.assign(**{column: train[column] / MIB_PER_GIB for column in columns.values()})
    shades = (BLUE, GRAY, ORANGE) if len(columns) > 1 else (GRAY,)
    lines = [
        _line(in_gib, column, name, axis, color, hover="%{y:.3g} GiB") | {"showlegend": len(columns) > 1}
        for (name, column), color in zip(columns.items(), shades, strict=False)
    ]
    return title, lines


def _line(
    table: pd.DataFrame, column: str, name: str, axis: str, color: str, width: float = 1.5, hover: str = "%{y:.4g}"
) -> Trace:
    steps, values = thin(table["step"].to_numpy(), table[column].to_numpy())
    return {
        "type": "scatter",
        "mode": "lines" if len(steps) > SPARSE_POINTS else "lines+markers",
        "name": name,
        "x": _packed(steps, "i4"),
        "y": _packed(values, "f4"),
        "yaxis": axis,
        "line": {"color": color, "width": width},
        "marker": {"size": 4},
        "hovertemplate": hover,
        "showlegend": False,
    }


def _event_traces(events: Events, axis: str) -> list[Trace]:
    lane = [
        ("snapshot", events.snapshots, 2.0, "line-ns-open", GRAY, "published"),
        ("evaluation", events.evaluated, 1.0, "circle", GREEN, "judged"),
    ]
    marks = [
        _marks(steps, level, axis, symbol, color, [text] * len(steps)) | {"name": name}
        for name, steps, level, symbol, color, text in lane
        if steps
    ]
    if events.failed:
        marks.append(_marks(list(events.failed), 1.0, axis, "x-thin-open", RED, list(events.failed.values())))
        marks[-1]["name"] = "evaluation failed"
    if events.stops:
        marks.append(_marks(list(events.stops), 0.0, axis, "square", ORANGE, list(events.stops.values())))
        marks[-1]["name"] = "stopped"
    return marks


def _marks(
    steps: Sequence[int] | Numbers, level: float, axis: str, symbol: str, color: str, texts: Sequence[str]
) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": _packed(np.asarray(steps), "i4"),
        "y": _packed(np.full(len(steps), level), "f4"),
        "yaxis": axis,
        "marker": {"symbol": symbol, "size": 6, "color": color, "line": {"width": 1, "color": color}},
        "text": [html.escape(text) for text in texts],
        "hovertemplate": "%{text}",
        "cliponaxis": False,
        "showlegend": False,
    }


def _metric_panel(name: str) -> Panel:
    direction = "higher" if name in HIGHER_IS_BETTER else "lower"
    title = f"{metric_name(name)}, difference to step 0 ({direction} is better)"
    return Panel(title, 92, {"tickformat": "+.2~f", "nticks": 5, "zeroline": True})


def _differences(metrics: pd.DataFrame, name: str) -> pd.DataFrame:
    """step, value, delta, low, high of one metric; step 0 differs from itself by nothing."""
    parts = {part: metrics[f"{name}_{part}"] for part in ("delta", "low", "high")}
    points = pd.DataFrame({"step": metrics["step"], "value": metrics[name], **parts})
    base = (points["step"] == 0) & points["value"].notna()
    points.loc[base, list(parts)] = 0.0
    return points.dropna(subset=["delta"])


def _difference_trace(points: pd.DataFrame, name: str, axis: str) -> Trace:
    if points.empty:
        return {}
    sign = -1 if name in HIGHER_IS_BETTER else 1
    delta, low, high = (points[part].to_numpy() for part in ("delta", "low", "high"))
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": metric_name(name),
        "x": _packed(points["step"].to_numpy(), "i4"),
        "y": _packed(delta, "f4"),
        "yaxis": axis,
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": _packed(high - delta, "f4"),
            "arrayminus": _packed(delta - low, "f4"),
            "width": 0,
            "thickness": 1.5,
            "color": GRAY,
        },
        "line": {"color": GRAY, "width": 1},
        "marker": {"size": 6, "color": [_verdict_color(sign * a, sign * b) for a, b in zip(low, high, strict=True)]},
        "text": [_describe(*row) for row in points[["value", "delta", "low", "high"]].itertuples(index=False)],
        "hovertemplate": "%{text}",
        "showlegend": False,
    }


def _verdict_color(one_end: float, other_end: float) -> str:
    """Green or red only where the interval excludes zero; negative is better."""
    if not np.isfinite([one_end, other_end]).all():
        return GRAY
    if max(one_end, other_end) < 0:
        return GREEN
    return RED if min(one_end, other_end) > 0 else GRAY


def _describe(value: float, delta: float, low: float, high: float) -> str:
    return f"{signed(delta)} {interval(low, high)}, value {number(value)}"


def _blank_trace(reasons: dict[int, str], name: str, axis: str) -> Trace:
    if not reasons:
        return {}
    return _marks(list(reasons), 0.0, axis, "x-thin-open", RED, list(reasons.values())) | {
        "name": f"{metric_name(name)}: no value"
    }


def _star(point: pd.DataFrame, axis: str) -> Trace:
    if point.empty:
        return {}
    star = _marks(point["step"].to_numpy(), float(point["delta"].iloc[0]), axis, "star", ORANGE, ["best snapshot"])
    star["marker"] |= {"size": 13, "line": {"width": 1, "color": "--st-background-color"}}
    return star | {"name": "best", "hoverinfo": "skip", "hovertemplate": None}


def _stack(
    panels: Sequence[Panel], traces: list[Trace], last_step: int, shapes: Sequence[dict[str, Any]] = ()
) -> Figure:
    """Panels from top to bottom over one step axis; their heights are pixels, so the figure's height is their sum."""
    inner = sum(panel.pixels + TITLE_PIXELS for panel in panels)
    layout: dict[str, Any] = {
        "height": inner + MARGIN["t"] + MARGIN["b"],
        "margin": MARGIN,
        "annotations": [],
        "shapes": list(shapes),
        "xaxis": {
            "range": [0, max(1, last_step) * 1.02],
            "title": {"text": "step", "standoff": 8},
            "gridcolor": GRID,
            "zeroline": False,
            "anchor": _axis_name(len(panels)),
            "unifiedhovertitle": {"text": "step %{x:,d}"},
            "tickformat": ",d",
        },
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "dragmode": "zoom",
        "font": {"size": 11, "color": MUTED},
        "hoverlabel": {
            "bgcolor": "--st-secondary-background-color",
            "bordercolor": GRID,
            "font": {"size": 12, "color": TEXT},
        },
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "top"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }
    top = inner
    for number_, panel in enumerate(panels, 1):
        upper, lower = top - TITLE_PIXELS, top - TITLE_PIXELS - panel.pixels
        axis = {"domain": [lower / inner, upper / inner], "gridcolor": GRID, "zeroline": False, "zerolinecolor": MUTED}
        layout[f"yaxis{number_ if number_ > 1 else ''}"] = axis | panel.axis
        layout["annotations"].append(_title(panel.title, upper / inner))
        top = lower
    return {"data": [trace | {"uid": _uid(trace)} for trace in traces], "layout": layout}


def _uid(trace: Trace) -> str:
    """Ties what a person did with a trace to it, whatever other traces come and go; Plotly makes a CSS class of it."""
    return re.sub(r"\W", "-", f"{trace['yaxis']}-{trace['name']}")


def _title(text: str, y: float) -> dict[str, Any]:
    return {
        "text": text,
        "x": 0,
        "y": y,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 12, "color": TEXT},
    }


def _vertical_line(step: int) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": step,
        "x1": step,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": ORANGE, "width": 1, "dash": "dot"},
        "layer": "below",
    }


def _axis_name(number_: int) -> str:
    return "y" if number_ == 1 else f"y{number_}"


def _packed(values: NDArray[Any], dtype: str) -> dict[str, str]:
    """Plotly's typed array: a third of the size of the same numbers as text, and NaN survives."""
    return {"dtype": dtype, "bdata": base64.b64encode(values.astype(f"<{dtype}").tobytes()).decode()}
