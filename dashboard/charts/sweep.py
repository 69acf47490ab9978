"""A sweep: its trials as lines over parallel axes, one a setting and one the composite; the importance of settings."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dashboard.charts.parts import (
    BLUE,
    GRAY,
    GREEN,
    GRID,
    LEGEND,
    ORANGE,
    OWN_AXIS,
    TEXT,
    TITLE_PIXELS,
    Figure,
    Trace,
    base_layout,
    packed,
    title,
)
from dashboard.text.language import say
from shared.sweeps.record import SweepRecord, TrialRecord

PIXELS = 280
BAR_PIXELS = 26
MAX_LABEL = 16
TOP = 1.2
"""Of the figure: above the axes there is room for labels, and on a phone for the legend."""
NUM_TICKS = 3
"""Of a range: its ends and the middle."""


@dataclass(frozen=True)
class Axis:
    """One of the parallel axes; places are from 0, at the bottom, to 1."""

    name: str
    ticks: tuple[tuple[float, str], ...]
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    def place(self, value: Any) -> float:
        """Of a value; between the choices' places where it is none of them."""
        if self.choices:
            return self.choices.index(value) / max(1, len(self.choices) - 1) if value in self.choices else 0.5
        ends = [math.log(one) if self.log else float(one) for one in (self.low, self.high, value)]
        return (ends[2] - ends[0]) / (ends[1] - ends[0]) if ends[1] != ends[0] else 0.5


def trials_figure(record: SweepRecord) -> Figure | None:
    """None before a trial has a composite. The best composite is on top."""
    known = [trial for trial in record.trials if trial.composite]
    if not known:
        return None
    axes = [_axis(key.partition(".")[2], space) for key, space in record.space.items()]
    composites = [trial.composite.delta for trial in known if trial.composite]
    worst, best = max(composites), min(composites)
    axes.append(Axis(say("composite"), ((0.0, f"{worst:+.2f}"), (1.0, f"{best:+.2f}")), low=worst, high=best))
    inner = PIXELS + TITLE_PIXELS
    last = len(axes) - 1
    layout = base_layout(inner) | {
        "hovermode": "closest",
        "xaxis": {
            "range": [-0.15, last + 0.45],
            "tickmode": "array",
            "tickvals": [*range(len(axes))],
            "ticktext": [html.escape(_short(axis.name)) for axis in axes],
            "tickangle": 0,
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
            "title": {"text": ""},
        },
        "yaxis": OWN_AXIS | {"range": [-0.04, TOP], "visible": False, "domain": [0, PIXELS / inner]},
        "annotations": [title(say("every trial: its settings and its composite (best on top)"), PIXELS / inner)],
        "shapes": [
            {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": {"color": GRID, "width": 1}, "layer": "below"}
            for x in range(len(axes))
        ],
        "legend": LEGEND | {"y": PIXELS / inner},
    }
    layout["margin"] = {**layout["margin"], "l": 24}
    return {"data": [*_lines(record, known, axes), _labels(axes)], "layout": layout}


def importance_figure(record: SweepRecord) -> Figure | None:
    """A bar for each setting, the most important on top; None where it is not known."""
    shares = sorted(record.importance.items(), key=lambda one: one[1])
    if not shares:
        return None
    pixels = BAR_PIXELS * len(shares)
    inner = pixels + TITLE_PIXELS
    layout = base_layout(inner) | {
        "hovermode": False,
        "xaxis": {"range": [0, 1.12], "visible": False, "fixedrange": True, "title": {"text": ""}},
        "yaxis": {"automargin": True, "fixedrange": True, "domain": [0, pixels / inner], "zeroline": False},
        "annotations": [title(say("what decides whether a trial is among the best"), pixels / inner)],
        "showlegend": False,
    }
    bars: Trace = {
        "type": "bar",
        "orientation": "h",
        "name": say("importance"),
        "x": packed(np.array([share for _, share in shares]), "f4"),
        "y": [html.escape(key.partition(".")[2]) for key, _ in shares],
        "text": [f"{share:.0%}" for _, share in shares],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": BLUE},
    }
    return {"data": [bars], "layout": layout}


def spelled(value: Any) -> str:
    """A setting's value, short."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _axis(name: str, space: Any) -> Axis:
    if isinstance(space, list):
        choices: tuple[Any, ...] = tuple(space)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        ticks = ((number / max(1, len(choices) - 1), spelled(one)) for number, one in enumerate(choices))
        return Axis(name, tuple(ticks), choices)
    low, high, log = float(space["low"]), float(space["high"]), bool(space.get("log"))
    shares = [number / (NUM_TICKS - 1) for number in range(NUM_TICKS)]
    values = [low * (high / low) ** share if log else low + (high - low) * share for share in shares]
    return Axis(name, tuple((s, f"{v:.2g}") for s, v in zip(shares, values, strict=True)), low=low, high=high, log=log)


def _lines(record: SweepRecord, known: Sequence[TrialRecord], axes: Sequence[Axis]) -> list[Trace]:
    """The winner's last, over all others."""
    won = record.winner.trials if record.winner else ()
    kinds = [_kind(trial, is_winner=trial.number in won) for trial in known]
    order = [say("stopped early"), say("failed"), say("running"), say("done"), say("winner")]
    traces: list[Trace] = []
    for trial, (name, color, width, dash) in sorted(
        zip(known, kinds, strict=True), key=lambda one: order.index(one[1][0])
    ):
        values = [*(trial.values.get(key) for key in record.space), trial.composite.delta if trial.composite else 0.0]
        texts = [f"{trial.run}, {axis.name}: {spelled(value)}" for axis, value in zip(axes, values, strict=True)]
        places = [axis.place(value) for axis, value in zip(axes, values, strict=True)]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": html.escape(name),
                "legendgroup": name,
                "showlegend": all(one["legendgroup"] != name for one in traces),
                "uid": trial.run,
                "x": packed(np.arange(len(axes), dtype=float), "i4"),
                "y": packed(np.array(places), "f4"),
                "text": [html.escape(text) for text in texts],
                "hovertemplate": "%{text}<extra></extra>",
                "line": {"color": color, "width": width, "dash": dash},
                "marker": {"size": 5, "color": color},
                "cliponaxis": False,
            }
        )
    return traces


def _kind(trial: TrialRecord, *, is_winner: bool) -> tuple[str, str, float, str]:
    """Name in the legend, colour, width and dash of its line."""
    if is_winner:
        return say("winner"), ORANGE, 3.0, "solid"
    if trial.state == "done":
        return say("done"), BLUE, 1.5, "solid"
    if trial.state == "pruned":
        return say("stopped early"), GRAY, 1.2, "dot"
    return (say("failed"), GRAY, 1.2, "dash") if trial.state == "failed" else (say("running"), GREEN, 1.5, "solid")


def _labels(axes: Sequence[Axis]) -> Trace:
    marks = [(number, *tick) for number, axis in enumerate(axes) for tick in axis.ticks]
    return {
        "type": "scatter",
        "mode": "text",
        "name": "",
        "x": packed(np.array([number for number, _, _ in marks], dtype=float), "i4"),
        "y": packed(np.array([place for _, place, _ in marks]), "f4"),
        "text": [f" {html.escape(_short(text))}" for _, _, text in marks],
        "textposition": "top right",
        "textfont": {"size": 10, "color": TEXT},
        "hoverinfo": "skip",
        "showlegend": False,
        "cliponaxis": False,
    }


def _short(text: str) -> str:
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"
