"""The horizontal axis: optimizer steps, or what else grows with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from dashboard.data.series import Numbers
from dashboard.text.language import say

XKind = Literal["step", "images", "epoch", "wall", "relative"]
X_KINDS: tuple[XKind, ...] = get_args(XKind)
SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Look:
    """How a person wants to see the curves."""

    x: XKind = "step"
    log_x: bool = False
    log_y: bool = False
    clip: bool = False
    anchors: bool = False
    span: float = 30.0
    window: tuple[float, float] | None = None

    def view(self) -> str:
        """Names what makes a zoom meaningless when it changes."""
        return f"{self.x}-{self.log_x}-{self.log_y}-{self.clip}"


@dataclass(frozen=True)
class XAxis:
    """Places steps on the axis; between two logged steps linearly."""

    kind: XKind = "step"
    log: bool = False
    steps: Numbers = field(default_factory=lambda: np.empty(0))
    values: Numbers = field(default_factory=lambda: np.empty(0))
    images_per_step: float = 1.0
    resumed: tuple[int, ...] = ()

    @property
    def breaks(self) -> list[float]:
        """Where lines are cut, because training went on there after a pause."""
        return self.at(np.array(self.resumed, dtype=float)).tolist()

    def at(self, steps: Numbers) -> Numbers:
        """Where these steps stand; NaN where that is not known yet."""
        if self.kind == "step":
            return steps
        if self.kind == "images":
            return steps * self.images_per_step
        return np.interp(steps, self.steps, self.values) if len(self.steps) else np.full(len(steps), np.nan)

    @property
    def dtype(self) -> str:
        """The smallest type that holds the places."""
        return {"step": "i4", "images": "i4", "epoch": "f4", "relative": "f4"}.get(self.kind, "f8")

    def layout(self, last_step: float) -> dict[str, Any]:
        """Plotly's axis: title, format, and the range of the whole run."""
        end = float(self.at(np.array([max(1.0, last_step)]))[0])
        unit = {
            "step": (say("step"), ",d"),
            "images": (say("images seen"), ",d"),
            "epoch": (say("epoch"), ".3~f"),
            "wall": (say("time of day, UTC"), "%m-%d %H:%M:%S"),
            "relative": (say("hours since the start"), ".3~f"),
        }
        title, spelled = unit[self.kind]
        axis: dict[str, Any] = {
            "title": {"text": title, "standoff": 8},
            "unifiedhovertitle": {"text": f"{title} %{{x:{spelled}}}" if self.kind != "wall" else f"%{{x|{spelled}}}"},
        }
        if not np.isfinite(end):
            return axis
        if self.kind == "wall":
            start = float(self.values[0]) if len(self.values) else end - 1
            return axis | {"type": "date", "range": [start, end + 0.02 * (end - start)]}
        if self.log:
            places = self.at(self.steps)
            start = float(np.min(places[places > 0], initial=end))  # a duration is 0 at the first step
            return axis | {"type": "log", "range": [np.log10(max(start, end / 1e6)), np.log10(end * 1.05)]}
        return axis | {"range": [-0.015 * end, end * 1.02], "tickformat": spelled}


def x_axis(train: pd.DataFrame, kind: XKind, log: bool, images_per_step: float, resumed: Iterable[int] = ()) -> XAxis:
    """The axis of a run, from what its trainer logged; `resumed` are the first steps after a pause."""
    steps, column = train["step"].to_numpy(), "epoch" if kind == "epoch" else "timestamp"
    known = np.isfinite(train[column].to_numpy())
    values = train[column].to_numpy()[known]
    if kind == "wall":
        values = 1000.0 * values
    if kind == "relative" and len(values):
        values = (values - values[0]) / SECONDS_PER_HOUR
    return XAxis(kind, log and kind != "wall", steps[known], values, images_per_step, tuple(resumed))


def images_per_step(train: pd.DataFrame, configured: float) -> float:
    """Pictures per optimizer update over all processes, from the speeds logged; else what is configured."""
    recent = train.tail(200)
    counted = recent["samples_per_second"].to_numpy() * recent["step_seconds"].to_numpy()
    known = counted[np.isfinite(counted)]
    typical = round(float(np.median(known))) if len(known) else 0
    return float(typical) if typical else configured
