"""A column over steps, made fit to draw: smoothed on the full data, then thinned so that no spike is lost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tsdownsample import MinMaxDownsampler

Numbers = NDArray[np.floating[Any]]

MAX_POINTS = 1600
"""Of one trace: the minimum and the maximum of each of 800 buckets."""


def moving_average(steps: Numbers, values: Numbers, span: float, breaks: Sequence[float] = ()) -> Numbers:
    """Exponential average over about `span` steps, bias-corrected; anew where the step goes back, and at `breaks`.

    Where there is no finite value there is no average: pandas would go on with the last one for ever.
    """
    known = np.isfinite(values)
    finite = np.where(known, values, np.nan)
    parts = [
        pd.Series(finite[part]).ewm(span=max(1.0, span), adjust=True, ignore_na=True).mean().to_numpy()
        for part in _segments(steps, breaks)
    ]
    return np.where(known, np.concatenate(parts), np.nan) if parts else np.empty(0)


def thin(
    steps: Numbers, values: Numbers, max_points: int = MAX_POINTS, breaks: Sequence[float] = ()
) -> tuple[Numbers, Numbers]:
    """Finite points only, extremes kept, with a blank between segments: no line runs backwards or over a pause."""
    parts = [part for part in _segments(steps, breaks) if np.isfinite(values[part]).any()]
    kept_steps: list[Numbers] = []
    kept_values: list[Numbers] = []
    for part in parts:
        finite = np.isfinite(values[part])
        x, y = steps[part][finite], values[part][finite]
        budget = max(4, max_points // len(parts) // 2 * 2)
        if len(x) > budget:
            chosen = MinMaxDownsampler().downsample(np.ascontiguousarray(y), n_out=budget)
            x, y = x[chosen], y[chosen]
        kept_steps += [x, x[-1:]]
        kept_values += [y, np.array([np.nan])]
    if not parts:
        return np.empty(0), np.empty(0)
    return np.concatenate(kept_steps)[:-1], np.concatenate(kept_values)[:-1]


def _segments(steps: Numbers, breaks: Sequence[float] = ()) -> list[slice]:
    """Stretches in which the step grows: a resumed run may repeat steps; `breaks` begin new ones."""
    if not len(steps):
        return []
    back = (np.flatnonzero(np.diff(steps) <= 0) + 1).tolist()
    cuts = sorted({0, len(steps), *back, *(int(np.searchsorted(steps, place)) for place in breaks)})
    return [slice(start, end) for start, end in pairwise(cuts)]
