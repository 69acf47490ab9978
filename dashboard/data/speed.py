"""How fast a run is and how long it will take, from the times its steps were really written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from shared.run_folder.times import parse_time

WINDOW = 200
BLOCK = 10


@dataclass(frozen=True)
class Pace:
    """Seconds of wall time per step, lately; the range is over means of ten steps, None while there are too few."""

    step_seconds: float
    fastest: float | None = None
    slowest: float | None = None


def pace(train: pd.DataFrame, session_started: str) -> Pace | None:
    """The pace of this session's last steps; None before its second.

    Wall time between rows is used, not `step_seconds`: it includes what saving costs. Rows of earlier sessions are left
    out, for the pause between them is no work.
    """
    steps, seconds = (train[name].to_numpy()[-WINDOW - 1 :] for name in ("step", "timestamp"))
    ours = seconds >= parse_time(session_started).timestamp()
    steps, seconds = steps[ours], seconds[ours]
    if len(steps) < 2 or steps[-1] <= steps[0]:
        return None
    per_step = np.diff(seconds) / np.maximum(np.diff(steps), 1)
    mean = float((seconds[-1] - seconds[0]) / (steps[-1] - steps[0]))
    if len(per_step) < 2 * BLOCK:
        return Pace(mean)
    blocks = [float(block.mean()) for block in np.array_split(per_step, len(per_step) // BLOCK)]
    return Pace(mean, min(blocks), max(blocks))
