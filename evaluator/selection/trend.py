"""How the composite changes over training: what the choice and the stop rule read instead of single snapshots. Pure.

The mean composite of a snapshot is a smooth curve of the step, plus what is the snapshot's own, plus the luck of the
prompts that were drawn. The curve is a cubic smoothing spline, a Gaussian process with an integrated random walk as its
prior (Wahba 1978); how much it bends is found by restricted maximum likelihood. The luck is known from the prompts: how
far they disagree on what the curve leaves over. What is left beyond that is the snapshot's own, and real. So a snapshot
borrows strength from its neighbours where prompts are few and noisy, and stands for itself where it surely differs.

All of it is linear in the composites. The same weights smooth every prompt, and a difference of two smoothed snapshots
has a paired interval over prompts like any other.
"""

# pyright: reportUnknownMemberType=false
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from shared.statistics.paired import Estimate, PromptValues, difference

# S: snapshots, by step; P: prompts; K: components of the spline, the roughest first
Numbers = NDArray[np.float64]

MIN_SMOOTHED = 4
"""Snapshots: fewer say nothing about how much the curve bends, and are left as they are."""
BENDING = (0.0, *np.logspace(-4, 5, 46))
"""Variances of the curve that are tried, in variances of the rest."""
FUTILITY_LEVEL = 0.85
"""Of the one-sided bound of what is still to come: at 0.9 few or noisy prompts hide a plateau until four fifths of the
plan, at 0.8 a straight line loses more than 8 % of its gain."""
NUM_FILLS = 20


@dataclass(frozen=True)
class Ahead:
    """What further steps would bring if the trend went on."""

    at_most: float
    """Upper bound, in units of the composite; positive is better."""
    num_snapshots: int
    """Over which the trend was measured."""


class Trend:
    """The smoothed composite of each prompt at each snapshot."""

    def __init__(self, composites: Mapping[int, PromptValues]) -> None:
        """composites: step → its composite for each prompt, at least two."""
        self._steps = np.array(sorted(composites), dtype=float)
        self._prompts, self._raw_SP = _table([composites[int(step)] for step in self._steps])
        self._smoothed_SP = _weights(self._steps, self._raw_SP) @ self._raw_SP

    def level(self, step: int) -> float:
        """Mean over prompts; rounded, so that equal snapshots are equal."""
        return round(float(self._smoothed_SP[self._row(step)].mean()), 9)

    def difference(self, step: int, other: int, level: float) -> Estimate | None:
        """The smoothed composite of `step` minus that of `other`, with its interval over prompts."""
        return difference(self._values(step), self._values(other), level)

    def ahead(self, num_steps: int, num_snapshots: int) -> Ahead:
        """What `num_steps` more would bring if the last `num_snapshots` (at least 3) went on in a straight line.

        Learning slows down as a rule, so that a straight line promises too much rather than too little. Its slope has
        two standard errors: one over prompts, which see the same seeds at each step, and one over snapshots, which
        differ also by what no prompt explains. The wider bound counts.
        """
        steps, recent_SP = self._steps[-num_snapshots:], self._raw_SP[-num_snapshots:]
        centred = steps - steps.mean()
        slope_P = centred @ recent_SP / (centred @ centred)
        slope, means = float(slope_P.mean()), recent_SP.mean(axis=1)
        rest = means - means.mean() - slope * centred
        over_prompts = float(slope_P.std(ddof=1)) / math.sqrt(len(slope_P))
        over_snapshots = math.sqrt(float(rest @ rest) / (len(steps) - 2) / float(centred @ centred))
        margin = max(
            float(stdtrit(len(slope_P) - 1, FUTILITY_LEVEL)) * over_prompts,
            float(stdtrit(len(steps) - 2, FUTILITY_LEVEL)) * over_snapshots,
        )
        return Ahead((margin - slope) * num_steps, len(steps))

    def _row(self, step: int) -> int:
        return int(np.searchsorted(self._steps, step))

    def _values(self, step: int) -> PromptValues:
        return dict(zip(self._prompts, map(float, self._smoothed_SP[self._row(step)]), strict=True))


def _table(composites: list[PromptValues]) -> tuple[list[str], Numbers]:
    """The prompts that at least half of the snapshots have, and their composites.

    A prompt that is missing at a snapshot counts there as far from the other prompts as it is elsewhere.
    """
    names = sorted(set().union(*composites))
    often = [name for name in names if 2 * sum(name in row for row in composites) >= len(composites)]
    kept = often if len(often) > 1 else names
    found_SP = np.array([[row.get(name, np.nan) for name in kept] for row in composites])
    missing_SP = np.isnan(found_SP)
    filled_SP = np.where(missing_SP, 0.0, found_SP)
    for _ in range(NUM_FILLS if missing_SP.any() else 0):
        added_SP = filled_SP.mean(axis=1, keepdims=True) + filled_SP.mean(axis=0) - filled_SP.mean()
        filled_SP = np.where(missing_SP, added_SP, found_SP)
    return kept, filled_SP


def _weights(steps: Numbers, composites_SP: Numbers) -> Numbers:
    """(S, S): a smoothed snapshot is this much of each snapshot."""
    if len(steps) < MIN_SMOOTHED:
        return np.eye(len(steps))
    line_SS, bends_K, components_SK = _spline(steps)
    found_K = components_SK.T @ composites_SP.mean(axis=1)
    bending, rest = _restricted_maximum_likelihood(found_K, bends_K)
    own = max(0.0, rest - _luck(components_SK.T @ composites_SP))
    real_K = bending * bends_K * rest + own
    noisy_K = (bending * bends_K + 1) * rest
    kept_K = np.divide(real_K, noisy_K, out=np.ones_like(real_K), where=noisy_K > 0)
    return line_SS + (components_SK * kept_K) @ components_SK.T


def _spline(steps: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """What is a straight line, (S, S); the other components, (S, K), and their variance in a curve that bends, (K,)."""
    places = (steps - steps[0]) / (steps[-1] - steps[0])
    line, _ = np.linalg.qr(np.column_stack([np.ones_like(places), places]))
    line_SS = line @ line.T
    bent_SS = np.eye(len(steps)) - line_SS
    variances, vectors = np.linalg.eigh(bent_SS @ np.abs(places[:, None] - places) ** 3 @ bent_SS)
    variances, vectors = np.maximum(variances[2:], 0), vectors[:, 2:]
    return line_SS, variances / variances.mean(), vectors


def _restricted_maximum_likelihood(found_K: Numbers, bends_K: Numbers) -> tuple[float, float]:
    """(variance of the curve in variances of the rest, variance of the rest) that explain the components best."""
    spreads_BK = 1 + np.array(BENDING)[:, None] * bends_K
    rests_B = (found_K**2 / spreads_BK).mean(axis=1)
    if rests_B[0] <= 0:
        return 0.0, 0.0
    misfits_B = len(found_K) * np.log(rests_B) + np.log(spreads_BK).sum(axis=1)
    best = int(misfits_B.argmin())
    return BENDING[best], float(rests_B[best])


def _luck(found_KP: Numbers) -> float:
    """Variance of the mean over prompts, from how far prompts disagree in the rougher half of the components."""
    rough_KP = found_KP[: max(1, len(found_KP) // 2)]
    return float(rough_KP.var(axis=1, ddof=1).mean()) / found_KP.shape[1]
