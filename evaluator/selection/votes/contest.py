"""Which snapshots people are asked about, and what the metrics say of them before any vote. Pure."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from evaluator.selection.ranking import Ranking
from shared.run_folder.records.contest import Contest

MAX_CONTENDERS = 8
"""Snapshots beside the base model: two that are further from the best are not worth anybody's time."""
MIN_UNIT = 0.01
"""Of the composite; where a config says that every difference matters."""
DIGITS = 6


def contest(found: Ranking, finalists: Collection[int], voted: Collection[int]) -> Contest | None:
    """The best, those that cannot be told from it, finalists, what was voted on already, and the base model.

    None without a snapshot that can be compared with the base model.
    """
    if found.best is None:
        return None
    chosen, level = found.best.step, found.trend.level
    close = {*found.indistinguishable, *finalists, chosen}
    ranked = sorted(close, key=lambda step: (step != chosen, level(step)))[:MAX_CONTENDERS]
    able = {summary.step for summary in found.candidates}
    steps = sorted({*ranked, *(able & set(voted))})
    means_S, covariance_SS = found.trend.joint(steps)
    unit = max(found.min_difference, MIN_UNIT, float(np.std(means_S)))
    rows = (np.pad(covariance_SS, ((1, 0), (1, 0))).round(DIGITS) + 0.0).tolist()  # no -0.0
    return Contest(
        steps=(0, *steps),
        means=(0.0, *(round(-float(mean), DIGITS) for mean in means_S)),
        covariance=tuple(map(tuple, rows)),
        unit=round(unit, DIGITS),
    )
