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
    if found.is_unmeasured:
        return _of_equals(found, voted)
    if found.best is None:
        return None
    chosen, level = found.best.step, found.trend.level
    close = {*found.indistinguishable, *finalists, chosen}
    ranked = sorted(close, key=lambda step: (step != chosen, level(step)))[:MAX_CONTENDERS]
    able = {summary.step for summary in found.at_hand}
    steps = sorted({*ranked, *(able & set(voted))})
    means_S, covariance_SS = found.trend.joint(steps)
    unit = max(found.min_difference, MIN_UNIT, float(np.std(means_S)))
    rows = (np.pad(covariance_SS, ((1, 0), (1, 0))).round(DIGITS) + 0.0).tolist()  # no -0.0
    return Contest(
        steps=(0, *steps),
        means=(0.0, *(round(-float(mean), DIGITS) for mean in means_S)),
        covariance=tuple(map(tuple, rows)),
        unit=round(unit, DIGITS),
        left_out=len(close - set(steps)),
    )


def _of_equals(found: Ranking, voted: Collection[int]) -> Contest | None:
    """Snapshots that may be shipped, evenly spread over training, of which no metric says anything.

    The unit is 1, because strengths are in no unit but their own.
    """
    able = [summary.step for summary in found.eligible]
    if not able:
        return None
    places = np.linspace(0, len(able) - 1, min(len(able), MAX_CONTENDERS)).round().astype(int)
    known = {summary.step for summary in found.at_hand}
    steps = (0, *sorted({*(able[place] for place in places), *(known & set(voted))}))
    return Contest(
        steps=steps,
        means=(0.0,) * len(steps),
        covariance=((0.0,) * len(steps),) * len(steps),
        unit=1.0,
        left_out=len(set(able) - set(steps)),
    )
