"""What snapshots gain against what they cost: one point a snapshot, the lower left the better."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import pandas as pd

from dashboard.charts.parts import (
    BLUE,
    GRID,
    ORANGE,
    OWN_AXIS,
    PAGE,
    RED,
    TITLE_PIXELS,
    VIOLET,
    Figure,
    Trace,
    base_layout,
    packed,
    title,
)
from dashboard.text.formatting import metric_name
from dashboard.text.language import say
from shared.run_folder.metric_descriptions import Column

PIXELS = 240
COLORS = (BLUE, VIOLET)


def frontier_figure(metrics: pd.DataFrame, prices: Sequence[Column], best_step: int | None) -> Figure | None:
    """The composite over each price; the chosen snapshot starred, and a line where nothing is left of what the base
    model drew.

    metrics: rows of metrics.csv. None where no snapshot has both numbers.
    """
    table = metrics.assign(composite=metrics["composite"].where(metrics["step"] != 0, 0.0))
    traces: list[Trace] = []
    furthest = max((column.price_limit or 0 for column in prices), default=0)
    for column, color in zip(prices, COLORS * len(prices), strict=False):
        points = table.dropna(subset=["composite", column.name]) if column.name in table else table.iloc[:0]
        if (points["step"].to_numpy(dtype=float) > 0).any():
            traces += [_points(points, column, color), *_star(points, column, best_step)]
            furthest = max(furthest, float(points[column.name].to_numpy(dtype=float).max()))
    if not traces:
        return None
    inner = PIXELS + TITLE_PIXELS
    limits = {column.price_limit for column in prices if column.price_limit is not None}
    axis = OWN_AXIS | {"zeroline": True}
    layout = base_layout(inner) | {
        "hovermode": "closest",
        "xaxis": {
            "gridcolor": GRID,
            "zeroline": False,
            "range": [-0.03 * furthest, 1.08 * furthest],
            "title": {"text": say("price: 0 is the base model")},
        },
        "yaxis": axis | {"domain": [0, PIXELS / inner], "tickformat": "+.3~g"},
        "annotations": [title(say("composite against the price (lower is better in both)"), PIXELS / inner)],
        "shapes": [_limit(limit) for limit in limits],
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": PIXELS / inner, "yanchor": "bottom"},
    }
    layout["margin"] = {**layout["margin"], "b": 48}
    return {"data": traces, "layout": layout}


def _points(points: pd.DataFrame, column: Column, color: str) -> Trace:
    steps = points["step"].to_numpy(dtype=float)
    return {
        "type": "scatter",
        "mode": "lines+markers+text",
        "name": html.escape(metric_name(column)),
        "x": packed(points[column.name].to_numpy(dtype=float), "f4"),
        "y": packed(points["composite"].to_numpy(dtype=float), "f4"),
        "customdata": packed(steps, "i4"),
        "text": [f"{step:.0f}" for step in steps],
        "textposition": "top right",
        "line": {"color": color, "width": 1},
        "marker": {"size": 7, "color": color},
        "hovertemplate": say("step {step}", step="%{text}") + ": %{x:.2f}, %{y:+.3f}",
        "cliponaxis": False,
    }


def _star(points: pd.DataFrame, column: Column, best_step: int | None) -> list[Trace]:
    at_best = points["step"].to_numpy(dtype=float) == best_step
    if not at_best.any():
        return []
    x, y, steps = (points[name].to_numpy(dtype=float)[at_best] for name in (column.name, "composite", "step"))
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": say("best"),
            "x": packed(x, "f4"),
            "y": packed(y, "f4"),
            "customdata": packed(steps, "i4"),
            "marker": {"symbol": "star", "size": 13, "color": ORANGE, "line": {"width": 1, "color": PAGE}},
            "hovertemplate": say("best snapshot"),
            "showlegend": False,
        }
    ]


def _limit(limit: float) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": limit,
        "x1": limit,
        "y0": 0,
        "y1": PIXELS / (PIXELS + TITLE_PIXELS),
        "yref": "paper",
        "line": {"color": RED, "width": 1, "dash": "dot"},
    }
