"""What the trainer logs: losses, learning rate, gradients, speed, memory, and what happened when."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from dashboard.charts.axis import Look, XAxis
from dashboard.charts.parts import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    RED,
    Figure,
    Panel,
    Part,
    Trace,
    line,
    marks,
    part_of,
    scale,
    stack,
    vertical_line,
)
from dashboard.data.series import MAX_POINTS, Numbers, moving_average
from dashboard.text.language import say
from shared.run_folder.tables import VALIDATION_COLUMNS

MIB_PER_GIB = 1024
GPU_MEMORY = {
    "allocated": "gpu_allocated_mib",
    "reserved": "gpu_reserved_mib",
    "device, all processes": "gpu_device_used_mib",
}
STRATUM = re.compile(r"held_out_t(\d+)")
"""Columns of validation.csv: the held-out loss by how noisy the picture was, the least noise first."""
LANES = ("alerts", "requests", "evaluated", "snapshots")


@dataclass(frozen=True)
class Events:
    """What happened at which step, beside training itself; the texts say more than the step."""

    snapshots: Sequence[int] = ()
    evaluated: Sequence[int] = ()
    failed: Mapping[int, str] = field(default_factory=dict)
    stops: Mapping[int, str] = field(default_factory=dict)
    resumes: Mapping[int, str] = field(default_factory=dict)
    alerts: Mapping[int, str] = field(default_factory=dict)
    best: int | None = None


def training_figure(
    train: pd.DataFrame,
    validation: pd.DataFrame,
    events: Events,
    axis: XAxis,
    look: Look,
    last_step: int,
    part: Part = "all",
    *,
    of_pictures: bool = True,
) -> Figure:
    """Everything in train.csv and validation.csv over one axis, with a lane of events below. The first part is the
    losses. of_pictures: whether an example is a picture."""
    x = axis.at(train["step"].to_numpy())
    speed = say("pictures per second") if of_pictures else say("examples per second")
    num_losses = 1 if validation["held_out_loss"].dropna().empty else 2
    panels = [
        loss_panel(train, x, axis, look),
        *held_out_panels(validation, axis, look),
        plain_panel(
            say("learning rate"), x, train["learning_rate"].to_numpy(), GRAY, axis, look, hover="%{y:.3g}", exponent="e"
        ),
        smoothed_panel(say("gradient norm"), x, train["grad_norm"].to_numpy(), axis, look),
        smoothed_panel(speed, x, train["samples_per_second"].to_numpy(), axis, look),
        memory_panel(train, x, axis, look),
        events_panel(events, axis, look),
    ]
    figure = stack(part_of([panel for panel in panels if panel], num_losses, part), axis, last_step)
    crossing = ((events.stops, ORANGE), (events.resumes, BLUE), (events.alerts, RED))
    figure["layout"]["shapes"] += [
        vertical_line(float(axis.at(np.array([float(step)]))[0]), color) for steps, color in crossing for step in steps
    ]
    return figure


def loss_panel(train: pd.DataFrame, x: Numbers, axis: XAxis, look: Look) -> Panel:
    """Each step faint, the average strong; a loss that is not finite is a red cross on the ground line."""
    steps, loss = train["step"].to_numpy(), train["loss"].to_numpy()
    vertical, note = scale(loss, look)
    raw = line(x, loss, say("each step"), BLUE, axis, look, width=1, max_points=MAX_POINTS)
    traces = [raw | {"opacity": 0.3, "showlegend": True}]
    if look.span > 1:
        smooth = moving_average(steps, loss, look.span, axis.resumed)
        name = say("average of {span} steps", span=f"{look.span:.0f}")
        average = line(x, smooth, name, BLUE, axis, look, width=2, max_points=MAX_POINTS // 2)
        traces.append(average | {"showlegend": True})
    missing = x[~np.isfinite(loss)][-MAX_POINTS:]
    if len(missing):
        floor = float(np.nanmin(loss[loss > 0], initial=1.0)) if look.log_y else 0.0
        traces.append(marks(missing, floor, "x-thin-open", RED, axis, name=say("loss"), text=say("not a number")))
    return Panel(say("training loss") + note, 210, traces, vertical)


def held_out_panels(validation: pd.DataFrame, axis: XAxis, look: Look) -> list[Panel]:
    """The loss on examples never trained on, the equal one on examples trained on, the gap between them, and what else
    the task measures."""
    x = axis.at(validation["step"].to_numpy())
    further = [*strata_panels(validation, x, axis, look), *further_panels(validation, x, axis, look)]
    if validation["held_out_loss"].dropna().empty:
        return further
    held_out, probe = validation["held_out_loss"].to_numpy(), validation["train_probe_loss"].to_numpy()
    vertical, note = scale(np.concatenate([held_out, probe]), look, from_zero=False)
    seen = line(x, probe, say("trained on"), GRAY, axis, look)
    unseen = line(x, held_out, say("held out"), ORANGE, axis, look, width=2)
    shown = [trace | {"showlegend": True} for trace in (seen, unseen)]
    gap = validation["gap"].to_numpy()
    panels = [Panel(say("validation loss") + note, 110, shown, vertical)]
    if np.isfinite(gap).any():
        trace = line(x, gap, say("gap"), ORANGE, axis, Look(look.x, window=look.window), hover="%{y:+.4f}")
        panels.append(Panel(say("gap: held out − trained on"), 56, [trace], {"nticks": 3, "zeroline": True}))
    return [*panels, *further]


def strata_panels(validation: pd.DataFrame, x: Numbers, axis: XAxis, look: Look) -> list[Panel]:
    """The held-out loss apart by how noisy the picture was, each against its first value: what is still learned."""
    traces: list[Trace] = []
    strata = sorted(int(match[1]) for column in validation if (match := STRATUM.fullmatch(str(column))))
    most = max(strata, default=0)
    for stratum in strata:
        values = validation[f"held_out_t{stratum}"].to_numpy()
        known = values[np.isfinite(values) & (values > 0)]
        if len(known) < 2:
            continue
        name = {0: say("least noise"), most: say("most noise")}.get(stratum, f"t{stratum}")
        drawn = line(x, values / known[0], name, BLUE, axis, Look(look.x, window=look.window), width=1)
        shade = 0.25 + 0.75 * stratum / max(most, 1)
        traces.append(drawn | {"mode": "lines", "opacity": shade, "showlegend": stratum in (0, most)})
    return [Panel(say("held-out loss by noise level, first value = 1"), 80, traces, {"nticks": 4})] if traces else []


def further_panels(validation: pd.DataFrame, x: Numbers, axis: XAxis, look: Look) -> list[Panel]:
    """What else the task measures: a panel for each column whose value is not always the same."""
    names = [name for name in map(str, validation) if name not in VALIDATION_COLUMNS and not STRATUM.fullmatch(name)]
    return [
        Panel(
            name.replace("_", " "),
            56,
            [line(x, values, name, BLUE, axis, Look(look.x, window=look.window))],
            {"nticks": 3},
        )
        for name in names
        if len(np.unique((values := validation[name].to_numpy())[np.isfinite(values)])) > 1
    ]


def plain_panel(
    name: str, x: Numbers, values: Numbers, color: str, axis: XAxis, look: Look, *, hover: str, exponent: str = "none"
) -> Panel | None:
    """One value per step that needs no smoothing; None where the trainer says nothing."""
    if not np.isfinite(values).any():
        return None
    linear = Look(look.x, window=look.window)
    return Panel(
        name,
        50,
        [line(x, values, name, color, axis, linear, hover=hover)],
        {"rangemode": "tozero", "nticks": 3, "exponentformat": exponent},
    )


def smoothed_panel(name: str, x: Numbers, values: Numbers, axis: XAxis, look: Look) -> Panel | None:
    """A noisy value per step: faint, with its average; None where the trainer says nothing."""
    if not np.isfinite(values).any():
        return None
    vertical, note = scale(values, look)
    raw = line(x, values, name, GRAY, axis, look, width=1) | {"opacity": 0.4}
    traces: list[Trace] = [raw]
    if look.span > 1:
        smooth = moving_average(x, values, look.span, axis.breaks)
        traces.append(line(x, smooth, say("{name}, average", name=name), GRAY, axis, look, width=2))
    return Panel(name + note, 56, traces, {"nticks": 3} | vertical)


def memory_panel(train: pd.DataFrame, x: Numbers, axis: XAxis, look: Look) -> Panel | None:
    """Memory of the GPU where there is one, else of the process, in GiB."""
    columns = {name: column for name, column in GPU_MEMORY.items() if np.isfinite(train[column].to_numpy()).any()}
    name = say("GPU memory, GiB") if columns else say("memory of the trainer (RSS), GiB")
    columns = columns or {"resident": "process_rss_mib"}
    if not any(np.isfinite(train[column].to_numpy()).any() for column in columns.values()):
        return None
    shades = (BLUE, GRAY, ORANGE) if len(columns) > 1 else (GRAY,)
    linear = Look(look.x, window=look.window)
    traces = [
        line(x, train[column].to_numpy() / MIB_PER_GIB, say(label), shade, axis, linear, hover="%{y:.3g} GiB")
        | {"showlegend": len(columns) > 1}
        for (label, column), shade in zip(columns.items(), shades, strict=False)
    ]
    return Panel(name, 56, traces, {"rangemode": "tozero", "nticks": 3})


def events_panel(events: Events, axis: XAxis, look: Look) -> Panel:
    """One row each for snapshots, evaluations, requests and alerts."""

    def row(steps: Sequence[int], lane: str, symbol: str, color: str, name: str, text: str | Sequence[str]) -> Trace:
        x = axis.at(np.asarray(steps, dtype=float))
        return marks(x, LANES.index(lane), symbol, color, axis, name=name, text=text) if len(steps) else {}

    rows = [
        row(events.snapshots, "snapshots", "line-ns-open", GRAY, say("snapshot"), say("published")),
        row(events.evaluated, "evaluated", "circle", GREEN, say("evaluation"), say("evaluated")),
        row([*events.failed], "evaluated", "x-thin-open", RED, say("evaluation failed"), [*events.failed.values()]),
        row([*events.stops], "requests", "square", ORANGE, say("stop"), [*events.stops.values()]),
        row([*events.resumes], "requests", "triangle-right", BLUE, say("resume"), [*events.resumes.values()]),
        row([*events.alerts], "alerts", "diamond", RED, say("alert"), [*events.alerts.values()]),
    ]
    if events.best is not None:
        star = row([events.best], "snapshots", "star", ORANGE, say("best"), say("best snapshot"))
        rows.append(star | {"marker": star["marker"] | {"size": 11}})
    ticks = {"tickvals": [*range(len(LANES))], "ticktext": [say(lane) for lane in LANES], "tickfont": {"size": 10}}
    return Panel(say("events"), 62, rows, {"range": [-0.6, 3.6], "fixedrange": True, "showgrid": False} | ticks)
