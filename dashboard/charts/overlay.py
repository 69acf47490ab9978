"""Several runs in one figure: the same curve of each, in its own colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dashboard.charts.axis import Look, XAxis
from dashboard.charts.parts import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    RED,
    VIOLET,
    Figure,
    Panel,
    Trace,
    line,
    packed,
    scale,
    stack,
)
from dashboard.data.series import MAX_POINTS, moving_average
from dashboard.text.formatting import metric_name, metric_title
from dashboard.text.language import say
from shared.run_folder.metric_descriptions import Column, MetricDescriptions, compared_in_any

COLORS = (BLUE, ORANGE, GREEN, VIOLET, RED, GRAY)
MAX_NAME = 24


@dataclass(frozen=True)
class Run:
    """The tables of one run."""

    name: str
    train: pd.DataFrame
    validation: pd.DataFrame
    metrics: pd.DataFrame
    axis: XAxis
    descriptions: MetricDescriptions
    """Of the columns of `metrics`."""

    @property
    def last_step(self) -> float:
        """The last step logged; 0 before the first."""
        return float(self.train["step"].to_numpy()[-1]) if len(self.train) else 0.0


def overlay_figure(runs: Sequence[Run], look: Look) -> Figure:
    """Averaged training loss, held-out loss and every metric, as measured, of each run."""
    longest = max(runs, key=lambda run: run.last_step)
    losses = np.concatenate([run.train["loss"].to_numpy() for run in runs])
    vertical, note = scale(losses, look)
    panels = [
        Panel(
            say("training loss, average of {span} steps", span=f"{look.span:.0f}") + note,
            190,
            loss_lines(runs, look),
            vertical,
        )
    ]
    held_out = [
        point_line(run, "held_out_loss", run.validation, color, say("validation loss"))
        for run, color in zip(runs, COLORS, strict=False)
    ]
    if any(held_out):
        panels.append(Panel(say("validation loss"), 110, held_out, {"nticks": 5}))
    for column in compared_in_any(run.descriptions for run in runs):
        traces = [
            point_line(run, column.name, run.metrics, color, metric_name(column), column.decimals)
            for run, color in zip(runs, COLORS, strict=False)
        ]
        if any(traces):
            panels.append(Panel(metric_title(column) + better(column), 110, traces, {"nticks": 5}))
    return stack(panels, longest.axis, max(longest.last_step, 1.0))


def better(column: Column) -> str:
    """In brackets; nothing of a guard, whose better side depends on what real pictures score."""
    words = {"lower": say("lower is better"), "higher": say("higher is better")}
    return "" if column.guard or column.direction == "none" else f" ({words[column.direction]})"


def loss_lines(runs: Sequence[Run], look: Look) -> list[Trace]:
    """One averaged line per run, all in the legend."""
    lines: list[Trace] = []
    for run, color in zip(runs, COLORS, strict=False):
        steps, loss = run.train["step"].to_numpy(), run.train["loss"].to_numpy()
        smooth = moving_average(steps, loss, look.span, run.axis.resumed)
        x = run.axis.at(steps)
        drawn = line(x, smooth, shortened(run.name), color, run.axis, look, width=2, max_points=MAX_POINTS // 2)
        lines.append(drawn | {"showlegend": True})
    return lines


def shortened(name: str) -> str:
    """With its beginning and its end, for a legend beside the title: names of runs often differ at the end."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME // 2]}…{name[1 - MAX_NAME // 2 :]}"


def point_line(run: Run, name: str, table: pd.DataFrame, color: str, label: str, decimals: int = 3) -> Trace:
    """The values of one run, few and far between; nothing where it has no such column."""
    known = table.dropna(subset=[name]) if name in table else None
    if known is None or known.empty:
        return {}
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"{shortened(run.name)} {label}",
        "x": packed(run.axis.at(known["step"].to_numpy(dtype=float)), run.axis.dtype),
        "y": packed(known[name].to_numpy(dtype=float), "f4"),
        "line": {"color": color, "width": 1.5},
        "marker": {"size": 6, "color": color},
        "hovertemplate": f"%{{y:.{decimals}f}}",
        "showlegend": False,
    }
