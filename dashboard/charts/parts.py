"""What every figure is made of: lines, marks, and panels stacked over one horizontal axis."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dashboard.charts.axis import Look, XAxis
from dashboard.data.series import MAX_POINTS, Numbers, thin
from dashboard.text.language import say

Figure = dict[str, Any]
Trace = dict[str, Any]

SPARSE_POINTS = 40
WIDE_WINDOW = 0.5  # of its width is sent on each side, so that panning shows something before more arrives
CLIP_PERCENT = 1.0

TEXT, MUTED, GRID = "--st-text-color", "--st-gray-text-color", "--st-border-color"
PAGE = "--st-background-color"
BLUE, GREEN, ORANGE, RED, GRAY, VIOLET = (
    f"--st-{name}-color" for name in ("blue", "green", "orange", "red", "gray", "violet")
)

FIRST_PIXELS = 320  # of the charts that a person looks at first
TITLE_PIXELS = 28
LEGEND: dict[str, Any] = {
    "orientation": "h",
    "x": 1,
    "xanchor": "right",
    "yanchor": "bottom",
    "font": {"size": 11},
    "traceorder": "normal",
    "bgcolor": "rgba(0,0,0,0)",
}
OWN_AXIS: dict[str, Any] = {
    "gridcolor": GRID,
    "zeroline": False,
    "zerolinecolor": MUTED,
    "ticklabeloverflow": "allow",  # to hide labels that do not fit, Plotly measures each at every drawing
}
MARGIN = {"l": 62, "r": 14, "t": 4, "b": 40}


@dataclass(frozen=True)
class Panel:
    """One of the charts of a stack; its traces get their axis there."""

    title: str
    pixels: int
    traces: Sequence[Trace]
    axis: dict[str, Any] = field(default_factory=dict)
    shapes: Sequence[dict[str, Any]] = ()


def line(
    x: Numbers,
    y: Numbers,
    name: str,
    color: str,
    axis: XAxis,
    look: Look,
    *,
    width: float = 1.5,
    hover: str = "%{y:.4g}",
    max_points: int = MAX_POINTS // 4,
) -> Trace:
    """A line over the window looked at, thinned so that no extreme is lost."""
    x, y = in_window(x, y, look)
    if look.log_y:
        y = np.where(y > 0, y, np.nan)
    kept_x, kept_y = thin(x, y, max_points, axis.breaks)
    return {
        "type": "scatter",
        "mode": "lines" if len(kept_x) > SPARSE_POINTS else "lines+markers",
        "name": name,
        "x": packed(kept_x, axis.dtype),
        "y": packed(kept_y, "f4"),
        "line": {"color": color, "width": width},
        "marker": {"size": 4},
        "hovertemplate": hover,
        "showlegend": False,
    }


def in_window(x: Numbers, y: Numbers, look: Look) -> tuple[Numbers, Numbers]:
    """The points in the window looked at, with a margin; all of them when nobody has zoomed."""
    if look.window is None:
        return x, y
    low, high = look.window
    margin = WIDE_WINDOW * (high - low)
    inside = (x >= low - margin) & (x <= high + margin)
    return x[inside], y[inside]


def marks(
    x: Numbers,
    level: float,
    symbol: str,
    color: str,
    axis: XAxis,
    *,
    name: str,
    text: str | Sequence[str],
    size: int = 6,
) -> Trace:
    """Symbols in a row, with one text for all or one each."""
    texts = {"hovertemplate": html.escape(text)} if isinstance(text, str) else {"text": [html.escape(t) for t in text]}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": packed(x, axis.dtype),
        "y": packed(np.full(len(x), level), "f4"),
        "marker": {"symbol": symbol, "size": size, "color": color, "line": {"width": 1, "color": color}},
        "hovertemplate": "%{text}",
        "cliponaxis": False,
        "showlegend": False,
    } | texts


def scale(values: Numbers, look: Look, *, from_zero: bool = True) -> tuple[dict[str, Any], str]:
    """The vertical axis of measured values, and what it leaves out, in words for the title."""
    finite = values[np.isfinite(values)]
    axis: dict[str, Any] = {"type": "log"} if look.log_y else {"rangemode": "tozero" if from_zero else "normal"}
    hidden = int((finite <= 0).sum()) if look.log_y else 0
    note = say(", values ≤ 0 not shown: {count}", count=hidden) if hidden else ""
    shown = finite[finite > 0] if look.log_y else finite
    if not look.clip or len(shown) < 20:
        return axis, note
    low, high = (float(end) for end in np.percentile(shown, [CLIP_PERCENT, 100 - CLIP_PERCENT]))
    margin = 0.05 * (high - low)
    ends = [low / 1.05, high * 1.05] if look.log_y else [min(low, 0.0) if from_zero else low - margin, high + margin]
    outside = int(((shown < ends[0]) | (shown > ends[1])).sum())
    limits = [float(np.log10(end)) for end in ends] if look.log_y else ends
    return axis | {"range": limits}, note + (say(", points outside: {count}", count=outside) if outside else "")


Part = Literal["all", "first", "further"]
"""Of a figure: what a person looks at first, and all the rest, which is folded."""


def part_of(panels: Sequence[Panel], num_first: int, part: Part) -> list[Panel]:
    """Those of the panels that belong to a part; the first ones fill `FIRST_PIXELS` together."""
    if part == "all":
        return [*panels]
    if part == "further":
        return [*panels[num_first:]]
    first = panels[:num_first]
    scale = (FIRST_PIXELS - TITLE_PIXELS * len(first)) / max(1, sum(panel.pixels for panel in first))
    return [replace(panel, pixels=round(scale * panel.pixels)) for panel in first]


def stack(panels: Sequence[Panel], axis: XAxis, last_step: float) -> Figure:
    """Panels from top to bottom over one axis; their heights are pixels, so the figure's height is their sum."""
    inner = sum(panel.pixels + TITLE_PIXELS for panel in panels)
    layout: dict[str, Any] = base_layout(inner) | {
        "xaxis": {"gridcolor": GRID, "zeroline": False, "anchor": axis_name(len(panels))} | axis.layout(last_step)
    }
    data: list[Trace] = []
    top = inner
    for number, panel in enumerate(panels, 1):
        upper, lower = top - TITLE_PIXELS, top - TITLE_PIXELS - panel.pixels
        name = axis_name(number)
        own = OWN_AXIS | {"domain": [lower / inner, upper / inner]}
        layout[f"yaxis{name[1:]}"] = own | panel.axis
        layout["annotations"].append(title(panel.title, upper / inner))
        layout["shapes"] += [{"yref": name, **shape} for shape in panel.shapes]
        legend = f"legend{name[1:]}"
        layout[legend] = LEGEND | {"y": upper / inner}
        own_parts = {"yaxis": name, "legend": legend}
        data += [
            trace | own_parts | {"uid": uid(name, trace), "name": html.escape(trace["name"])}
            for trace in panel.traces
            if trace
        ]
        top = lower
    return {"data": data, "layout": layout}


def base_layout(inner: int) -> dict[str, Any]:
    """What all figures share."""
    return {
        "height": inner + MARGIN["t"] + MARGIN["b"],
        "margin": MARGIN,
        "annotations": [],
        "shapes": [],
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "dragmode": "zoom",
        "font": {"size": 11, "color": MUTED},
        "hoverlabel": {
            "bgcolor": "--st-secondary-background-color",
            "bordercolor": GRID,
            "font": {"size": 12, "color": TEXT},
        },
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }


def uid(axis: str, trace: Trace) -> str:
    """Ties what a person did with a trace to it, whatever other traces come and go; Plotly makes a CSS class of it."""
    return re.sub(r"\W", "-", f"{axis}-{trace['name']}")


def title(text: str, y: float) -> dict[str, Any]:
    """A panel's title, above its left edge."""
    return {
        "text": html.escape(text),
        "x": 0,
        "y": y,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 12, "color": TEXT},
    }


def vertical_line(x: float, color: str) -> dict[str, Any]:
    """Through all panels."""
    dotted = {"color": color, "width": 1, "dash": "dot"}
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": dotted, "layer": "below"}


def axis_name(number: int) -> str:
    """Plotly's name of the n-th vertical axis."""
    return "y" if number == 1 else f"y{number}"


def packed(values: NDArray[Any], dtype: str) -> dict[str, str]:
    """Plotly's typed array: a third of the size of the same numbers as text, and NaN survives."""
    if dtype == "i4":
        if not np.isfinite(values).all():
            dtype = "f4"  # a blank between two stretches of a line
        else:
            values = np.rint(values)
    return {"dtype": dtype, "bdata": base64.b64encode(values.astype(f"<{dtype}").tobytes()).decode()}
