"""Pauses and resumptions of a run, found in the files of its programs. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from dashboard.data.series import Numbers
from dashboard.text.formatting import duration
from dashboard.text.language import say

PAUSE_SECONDS = 60.0
PAUSE_STEPS = 50  # longer than so many usual steps is a pause, even where steps are slow


def pauses(train: pd.DataFrame, stops: Mapping[int, str]) -> dict[int, str]:
    """Step → a sentence that training resumed there: after an answered stop, or after a gap in train.csv."""
    steps, times = train["step"].to_numpy(), train["timestamp"].to_numpy()
    if len(steps) < 2:
        return {}
    between = np.diff(times)
    usual = typical(train["step_seconds"].to_numpy()[-10_000:])
    silent = np.flatnonzero(between > max(PAUSE_SECONDS, PAUSE_STEPS * usual))
    continued = {int(steps[i + 1]): say("resumed after {time}", time=duration(between[i])) for i in silent}
    resumed = {step + 1 for step in stops if step < steps[-1]}
    return {step: say("resumed") for step in sorted(resumed - continued.keys())} | continued


def typical(seconds: Numbers) -> float:
    """The median of what is known; 0 when nothing is."""
    known = seconds[np.isfinite(seconds)]
    return float(np.median(known)) if len(known) else 0.0
