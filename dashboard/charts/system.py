"""What the run took of a machine: memory, load, temperature, power and disk, over time or over the run's steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from dashboard.charts.axis import SECONDS_PER_HOUR, Look, XAxis
from dashboard.charts.parts import BLUE, GRAY, GREEN, ORANGE, RED, VIOLET, Figure, Panel, Trace, line, stack
from dashboard.data.series import Numbers
from dashboard.text.language import say

Axis = Literal["relative", "step"]
COLORS = (BLUE, ORANGE, GREEN, VIOLET, RED, GRAY)
MIB_PER_GIB = 1024
MIB_PER_GB = 1e9 / 2**20
PROGRAMS = {
    "Trainer": "trainer_rss_mib",
    "Evaluator": "evaluator_rss_mib",
    "Dashboard": "dashboard_rss_mib",
    "Supervisor": "supervisor_rss_mib",
}
ON_GPU = {"Trainer": "trainer_gpu_mib", "Evaluator": "evaluator_gpu_mib"}
GPU = re.compile(r"gpu(\d+)_percent")


def system_figure(system: pd.DataFrame, train: pd.DataFrame, kind: Axis) -> Figure:
    """Each measured quantity in a panel of its own; what was never measured has none."""
    x, axis, last = axis_of(system, train, kind)
    numbers = gpu_numbers(system)
    memory = {say("machine"): "memory_used_mib"}
    on_gpu = {say(name): column for name, column in ON_GPU.items()}
    device = {gpu_name(number, numbers): f"gpu{number}_memory_mib" for number in numbers}
    load = {say("Processors"): "cpu_percent"} | {
        gpu_name(number, numbers): f"gpu{number}_percent" for number in numbers
    }
    degrees = {gpu_name(number, numbers): f"gpu{number}_celsius" for number in numbers}
    power = {gpu_name(number, numbers): f"gpu{number}_watts" for number in numbers}
    programs = {say(name): column for name, column in PROGRAMS.items()}
    panels = [
        panel(say("GPU memory, GiB"), on_gpu | device, system, x, axis, MIB_PER_GIB),
        panel(say("memory of the programs (RSS), GiB"), programs, system, x, axis, MIB_PER_GIB),
        panel(say("memory in use on the machine, GiB"), memory, system, x, axis, MIB_PER_GIB),
        panel(say("load, %"), load, system, x, axis, most=100),
        panel(say("temperature, °C"), degrees, system, x, axis),
        panel(say("power, W"), power, system, x, axis),
        panel(say("free disk, GB"), {say("Disk"): "disk_free_mib"}, system, x, axis, MIB_PER_GB),
    ]
    return stack([shown for shown in panels if shown], axis, last)


def axis_of(system: pd.DataFrame, train: pd.DataFrame, kind: Axis) -> tuple[Numbers, XAxis, float]:
    """Where each row stands, the axis, and its end. Lines are cut where a recording begins.

    A row before the first step, or after the last one, has no place on an axis of steps.
    """
    time = system["timestamp"].to_numpy()
    begins = np.flatnonzero(system["seconds"].to_numpy() == 0)[1:]
    if kind == "step":
        done = train.dropna(subset=["timestamp"]).sort_values("timestamp")
        at, steps = done["timestamp"].to_numpy(), done["step"].to_numpy()
        x = np.interp(time, at, steps, left=np.nan, right=np.nan) if len(done) else np.full(len(time), np.nan)
        starts = x[begins][np.isfinite(x[begins])]
        return x, XAxis("step", resumed=tuple(int(start) for start in starts)), float(np.max(steps, initial=1.0))
    hours = (time - time[0]) / SECONDS_PER_HOUR
    rows = np.arange(len(hours), dtype=float)
    axis = XAxis("relative", steps=rows, values=hours, resumed=tuple(begins.tolist()))
    return hours, axis, max(float(rows[-1]), 1.0)


def panel(
    title: str,
    columns: Mapping[str, str],
    system: pd.DataFrame,
    x: Numbers,
    axis: XAxis,
    unit: float = 1.0,
    most: float | None = None,
) -> Panel | None:
    """A line for each column that has values, named if there are several; None where there is none."""
    known = {name: column for name, column in columns.items() if column in system and np.isfinite(system[column]).any()}
    traces: list[Trace] = [
        line(x, system[column].to_numpy() / unit, name, color, axis, Look(axis.kind), hover="%{y:.3g}")
        | {"showlegend": len(known) > 1}
        for (name, column), color in zip(known.items(), COLORS, strict=False)
    ]
    ends = {"range": [0, most]} if most else {"rangemode": "tozero"}
    return Panel(title, 80, traces, {"nticks": 4} | ends) if traces else None


def gpu_numbers(system: pd.DataFrame) -> list[int]:
    """The GPUs that have columns."""
    return sorted(int(found[1]) for column in system if (found := GPU.fullmatch(str(column))))


def gpu_name(number: int, numbers: list[int]) -> str:
    """The one GPU of a run needs no number."""
    return f"GPU {number}" if len(numbers) > 1 else "GPU"
