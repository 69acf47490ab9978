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
from dashboard.charts.quality import HIGHER_IS_BETTER
from dashboard.data.series import MAX_POINTS, moving_average
from dashboard.text.formatting import metric_name
from dashboard.text.language import say
from shared.run_folder.tables import COMPARED_METRICS

COLORS = (BLUE, ORANGE, GREEN, VIOLET, RED, GRAY)


@dataclass(frozen=True)
class Run:
    """The tables of one run."""

    name: str
    train: pd.DataFrame
    validation: pd.DataFrame
    metrics: pd.DataFrame
    axis: XAxis

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
        point_line(run, "held_out_loss", run.validation, color) for run, color in zip(runs, COLORS, strict=False)
    ]
    if any(held_out):
        panels.append(Panel(say("validation loss"), 110, held_out, {"nticks": 5}))
    for name in COMPARED_METRICS:
        better = "" if name in HIGHER_IS_BETTER else f" ({say('lower is better')})"
        traces = [point_line(run, name, run.metrics, color) for run, color in zip(runs, COLORS, strict=False)]
        if any(traces):
            panels.append(Panel(metric_name(name) + better, 110, traces, {"nticks": 5}))
    return stack(panels, longest.axis, max(longest.last_step, 1.0))


def loss_lines(runs: Sequence[Run], look: Look) -> list[Trace]:
    """One averaged line per run, all in the legend."""
    lines: list[Trace] = []
    for run, color in zip(runs, COLORS, strict=False):
        steps, loss = run.train["step"].to_numpy(), run.train["loss"].to_numpy()
        smooth = moving_average(steps, loss, look.span, run.axis.resumed)
        x = run.axis.at(steps)
        drawn = line(x, smooth, run.name, color, run.axis, look, width=2, max_points=MAX_POINTS // 2)
        lines.append(drawn | {"showlegend": True})
    return lines


def point_line(run: Run, name: str, table: pd.DataFrame, color: str) -> Trace:
    """The values of one run, few and far between."""
    known = table.dropna(subset=[name])
    if known.empty:
        return {}
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"{run.name} {metric_name(name)}",
        "x": packed(run.axis.at(known["step"].to_numpy(dtype=float)), run.axis.dtype),
        "y": packed(known[name].to_numpy(dtype=float), "f4"),
        "line": {"color": color, "width": 1.5},
        "marker": {"size": 6, "color": color},
        "hovertemplate": "%{y:.3f}",
        "showlegend": False,
    }
