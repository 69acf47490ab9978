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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from evaluator.selection.ending.averages import shrunk
from shared.run_folder.averages import ends, is_average
from shared.statistics.paired import Estimate, PromptValues, difference

# S: snapshots, by step; P: prompts; K: components of the spline, the roughest first
Numbers = NDArray[np.float64]

MIN_SMOOTHED = 4
"""Snapshots: fewer say nothing about how much the curve bends, and are left as they are."""
BENDING = (0.0, *np.logspace(-4, 5, 46))
"""Variances of the curve that are tried, in variances of the rest."""
FUTILITY_LEVEL = 0.9
"""Of the one-sided bound of what is still to come: at 0.85 a straight line with much noise loses more than 8 % of its
gain."""
MIN_EARLIER = 3
"""Snapshots before the recent ones, without which nothing is known of how learning has slowed down."""
NUM_FILLS = 20
MIN_FREEDOM = 3
"""Of Student's t: with fewer its variance is infinite."""


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
        """composites: step → its composite for each prompt, at least two; averaged candidates have a number instead."""
        numbers = sorted(composites)
        self._prompts, raw_SP = _table([composites[number] for number in numbers])
        steps = [number for number in numbers if not is_average(number)]
        self._rows = {number: row for row, number in enumerate(numbers)}
        self._steps, self._raw_SP = np.array(steps, dtype=float), raw_SP[: len(steps)]
        smoothed_SP = _weights(self._steps, self._raw_SP) @ self._raw_SP
        averages = [self._average(number, raw_SP[self._rows[number]], smoothed_SP) for number in numbers[len(steps) :]]
        self._smoothed_SP = np.vstack([smoothed_SP, *averages])

    def level(self, step: int) -> float:
        """Mean over prompts; rounded, so that equal snapshots are equal."""
        return round(float(self._smoothed_SP[self._row(step)].mean()), 9)

    def difference(self, step: int, other: int, level: float) -> Estimate | None:
        """The smoothed composite of `step` minus that of `other`, with its interval over prompts."""
        return difference(self._values(step), self._values(other), level)

    def joint(self, steps: Sequence[int]) -> tuple[Numbers, Numbers]:
        """(smoothed means, their covariance over prompts) of these steps, by step.

        With few prompts the covariance is itself uncertain: it is as much wider as Student's t is than a Gaussian.
        """
        rows_SP = self._smoothed_SP[[self._row(step) for step in steps]]
        freedom = max(len(self._prompts) - 1, MIN_FREEDOM)
        covariance_SS = np.atleast_2d(np.cov(rows_SP)) / len(self._prompts)
        return rows_SP.mean(axis=1), covariance_SS * (freedom / (freedom - 2))

    def ahead(self, num_steps: int, num_snapshots: int) -> Ahead:
        """What `num_steps` more would bring if learning went on as it has in the last `num_snapshots` (at least 3).

        The gain per step there has two standard errors: one over prompts, which see the same seeds at each step, and
        one over snapshots, which differ also by what no prompt explains. The wider bound counts. Where it is below the
        gain per step of the snapshots before, learning slows down, and is taken to go on doing so as a power of the
        step, which falls more slowly than an exponential. Where it is not, the run goes on in a straight line.
        """
        recent = _gain(self._steps[-num_snapshots:], self._raw_SP[-num_snapshots:])
        over_prompts, over_snapshots = (
            float(stdtrit(count, FUTILITY_LEVEL)) * error
            for count, error in ((len(self._prompts) - 1, recent.over_prompts), (num_snapshots - 2, recent.over_rest))
        )
        bound = recent.per_step + max(over_prompts, over_snapshots)
        slowing, earlier_steps = 0.0, self._steps[:-num_snapshots]
        if len(earlier_steps) >= MIN_EARLIER:
            earlier = _gain(earlier_steps, self._raw_SP[:-num_snapshots])
            if 0 < bound < earlier.per_step:
                slowing = math.log(earlier.per_step / bound) / math.log(recent.middle / earlier.middle)
        latest = float(self._steps[-1])
        more = _integral(latest / recent.middle, (latest + num_steps) / recent.middle, slowing) * recent.middle
        return Ahead(bound * more, num_snapshots)

    def _average(self, number: int, own_P: Numbers, smoothed_SP: Numbers) -> Numbers:
        first, last = ends(number) or (0, 0)
        sources = (self._steps >= first) & (self._steps <= last)
        return shrunk(own_P, self._raw_SP[sources], smoothed_SP[sources]) if sources.any() else own_P

    def _row(self, step: int) -> int:
        return self._rows[step]

    def _values(self, step: int) -> PromptValues:
        return dict(zip(self._prompts, map(float, self._smoothed_SP[self._row(step)]), strict=True))


@dataclass(frozen=True)
class _Gain:
    """A straight line through snapshots; positive is better."""

    middle: float
    """Mean step."""
    per_step: float
    over_prompts: float
    """Standard error of the gain per step from how far prompts disagree."""
    over_rest: float
    """The same from how far the means scatter around the line."""


def _gain(steps: Numbers, composites_SP: Numbers) -> _Gain:
    """At least three snapshots: fewer have no scatter around a line."""
    centred = steps - steps.mean()
    gains_P = -(centred @ composites_SP) / (centred @ centred)
    gain, means = float(gains_P.mean()), composites_SP.mean(axis=1)
    rest = means - means.mean() + gain * centred
    return _Gain(
        middle=float(steps.mean()),
        per_step=gain,
        over_prompts=float(gains_P.std(ddof=1)) / math.sqrt(len(gains_P)),
        over_rest=math.sqrt(float(rest @ rest) / (len(steps) - 2) / float(centred @ centred)),
    )


def _integral(start: float, end: float, slowing: float) -> float:
    """Of x to the power of -slowing from start to end, both above 0."""
    if math.isclose(slowing, 1):
        return math.log(end / start)
    return (end ** (1 - slowing) - start ** (1 - slowing)) / (1 - slowing)


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
