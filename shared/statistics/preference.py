"""Which snapshot people prefer, from votes between two and from what the metrics say (Bradley & Terry 1952).

Each snapshot has a strength, in units of the composite; more is better. The metrics give the prior: a mean for each
snapshot, and how far their prompts leave it open (a covariance). The eye may see something else than the metrics do: a
Gaussian of unknown width is added for that, in which snapshots that are near one another in training are alike. A vote
prefers i to j with probability 1 / (1 + exp(-(strength_i - strength_j) / scale)); `equal` is half a vote for each.

How well people tell two strengths apart (the scale) and how far the eye differs from the metrics (the width) are not
known either. Both are tried on a grid, and every point of it counts as much as it explains the votes: so votes that
contradict the metrics widen what is believed possible, and votes that agree with them do not. At each point, the
posterior is taken to be Gaussian around its mode (Laplace's approximation).
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, xlogy

from shared.run_folder.averages import ends
from shared.run_folder.records.contest import Contest
from shared.run_folder.records.vote import Vote
from shared.statistics.paired import LEVEL

# S: snapshots, in the order of `Contest.steps`; N: draws from the posterior
Numbers = NDArray[np.float64]

SCALES = (0.125, 0.25, 0.5, 1.0, 2.0)
"""Of the logistic, in the contest's unit."""
WIDTHS = (0.25, 1.0, 4.0)
"""Of what the eye sees and the metrics do not, in the contest's unit: a standard deviation."""
RANGE = 0.3
"""Of the likeness between snapshots, as a share of the training from the first to the last of them."""
OWN = 0.1
"""Share of that variance that neighbours do not have in common."""
NUM_DRAWS = 4096
NUM_NEWTON = 30
TOLERANCE = 1e-9
JITTER = 1e-6
"""Added to variances, in units of the largest, so that the covariance can be inverted."""


@dataclass(frozen=True)
class Comparison:
    """How much of a vote was for `one`, and not for `other`: 1, 0.5 or 0."""

    one: int
    other: int
    share: float


@dataclass(frozen=True)
class Strength:
    """Of one snapshot over the base model, in units of the composite; more is better."""

    mean: float
    low: float
    high: float


def comparisons(votes: Iterable[Vote], steps: Collection[int]) -> list[Comparison]:
    """What votes say about these steps."""
    shares = {"left": 1.0, "equal": 0.5, "right": 0.0}
    return [
        Comparison(vote.left, vote.right, shares[vote.answer])
        for vote in votes
        if vote.answer in shares and vote.left in steps and vote.right in steps
    ]


class Posterior:
    """What is believed of the strengths after some votes; the same votes give the same numbers."""

    def __init__(self, contest: Contest, found: Sequence[Comparison]) -> None:
        self.steps = contest.steps
        self._place = {step: place for place, step in enumerate(contest.steps)}
        self._draws_NS = self._draw(contest, found)

    def strength(self, step: int, level: float = LEVEL) -> Strength:
        """Over step 0, or over the first step where the contest is without the base model."""
        values_N = self._draws_NS[:, self._place[step]] - self._draws_NS[:, self._place.get(0, 0)]
        low, high = np.quantile(values_N, [(1 - level) / 2, (1 + level) / 2])
        return Strength(float(values_N.mean()), float(low), float(high))

    def chance_over(self, step: int, other: int) -> float:
        """Probability that `step` is stronger than `other`."""
        return float((self._draws_NS[:, self._place[step]] > self._draws_NS[:, self._place[other]]).mean())

    def chances(self, among: Collection[int]) -> dict[int, float]:
        """Step → probability that it is the strongest of these."""
        steps = [step for step in self.steps if step in among]
        firsts_N = self._draws_NS[:, [self._place[step] for step in steps]].argmax(axis=1)
        return {step: float((firsts_N == place).mean()) for place, step in enumerate(steps)}

    def information(self, one: int, other: int, weight: float) -> float:
        """What a vote between two snapshots is expected to tell, in nats.

        Of which snapshot is the strongest, and `weight` times what it tells of all strengths.
        """
        chances_N = expit(
            (self._draws_NS[:, self._place[one]] - self._draws_NS[:, self._place[other]]) / self._scales_N
        )
        before = float(_entropy(chances_N.mean()))
        sums_S = np.bincount(self._firsts, chances_N, minlength=len(self.steps))
        counts_S = np.bincount(self._firsts, minlength=len(self.steps))
        means_S = np.divide(sums_S, counts_S, out=np.zeros_like(sums_S), where=counts_S > 0)
        after = float((counts_S / len(chances_N)) @ _entropy(means_S))
        noise = float(_entropy(chances_N).mean())
        return (before - after) + weight * (before - noise)

    @cached_property
    def _firsts(self) -> NDArray[np.int64]:
        return self._draws_NS.argmax(axis=1)

    def _draw(self, contest: Contest, found: Sequence[Comparison]) -> Numbers:
        """(N, S), with the scale that belongs to each draw in `_scales_N`."""
        means_S, unit = np.array(contest.means), contest.unit
        likeness_SS = _likeness(contest.steps)
        parts: list[tuple[float, float, Numbers, Numbers]] = []  # log evidence, scale, mode, root of the covariance
        for width in WIDTHS:
            covariance_SS = np.array(contest.covariance) + (width * unit) ** 2 * likeness_SS
            covariance_SS += JITTER * covariance_SS.diagonal().max() * np.eye(len(means_S))
            for scale in SCALES:
                parts.append(_laplace(means_S, covariance_SS, self._wins(found), scale * unit))
        logs_K = np.array([part[0] for part in parts])
        weights_K = np.exp(logs_K - logs_K.max())
        random = np.random.default_rng(0)
        counts_K = _shared_out(weights_K / weights_K.sum(), NUM_DRAWS)
        normal_NS = random.standard_normal((NUM_DRAWS, len(means_S)))
        rows = np.split(normal_NS, np.cumsum(counts_K)[:-1])
        self._scales_N = np.repeat([part[1] for part in parts], counts_K)
        return np.concatenate([mode + row @ root.T for row, (_, _, mode, root) in zip(rows, parts, strict=True)])

    def _wins(self, found: Sequence[Comparison]) -> Numbers:
        """(S, S): how many votes the first of each two got against the second."""
        wins_SS = np.zeros((len(self.steps), len(self.steps)))
        for one in found:
            places = self._place[one.one], self._place[one.other]
            wins_SS[places] += one.share
            wins_SS[places[::-1]] += 1 - one.share
        return wins_SS


def _likeness(steps: Sequence[int]) -> Numbers:
    """(S, S): correlation of what the eye sees beyond the metrics. The base model is like no snapshot."""
    places = np.array([np.mean(ends(step) or step) for step in steps])
    trained = places[places > 0]
    span = max(1.0, float(np.ptp(trained))) if len(trained) else 1.0
    near_SS = np.exp(-np.abs(places[:, None] - places) / span / RANGE)
    near_SS = (1 - OWN) * near_SS + OWN * np.eye(len(places))
    is_base = places == 0
    near_SS[is_base] = near_SS[:, is_base] = 0.0
    near_SS[is_base, is_base] = 1.0
    return near_SS


def _laplace(
    means_S: Numbers, covariance_SS: Numbers, wins_SS: Numbers, scale: float
) -> tuple[float, float, Numbers, Numbers]:
    """(log evidence, scale, mode, root of the covariance around it)."""
    precision_SS = np.linalg.inv(covariance_SS)
    mode_S, votes_SS = means_S.copy(), wins_SS + wins_SS.T
    for _ in range(NUM_NEWTON):
        chances_SS = expit((mode_S[:, None] - mode_S) / scale)
        slope_S = (wins_SS - votes_SS * chances_SS).sum(axis=1) / scale - precision_SS @ (mode_S - means_S)
        step_S = np.linalg.solve(precision_SS + _curvature(votes_SS, chances_SS, scale), slope_S)
        mode_S = mode_S + step_S
        if np.abs(step_S).max() < TOLERANCE * scale:
            break
    chances_SS = expit((mode_S[:, None] - mode_S) / scale)
    around_SS = np.linalg.inv(precision_SS + _curvature(votes_SS, chances_SS, scale))
    off_S = mode_S - means_S
    log_likelihood = float(xlogy(wins_SS, chances_SS).sum())
    log_prior = -0.5 * float(off_S @ precision_SS @ off_S)
    log_volumes = 0.5 * (np.linalg.slogdet(around_SS)[1] - np.linalg.slogdet(covariance_SS)[1])
    root_SS = np.asarray(np.linalg.cholesky(around_SS), dtype=np.float64)
    return log_likelihood + log_prior + float(log_volumes), scale, mode_S, root_SS


def _curvature(votes_SS: Numbers, chances_SS: Numbers, scale: float) -> Numbers:
    """Minus the second derivative of the log likelihood."""
    weights_SS = votes_SS * chances_SS * (1 - chances_SS) / scale**2
    return np.diag(weights_SS.sum(axis=1)) - weights_SS


def _shared_out(weights_K: Numbers, count: int) -> NDArray[np.int64]:
    """Whole numbers in these proportions, `count` in all."""
    ends_K = np.rint(np.cumsum(weights_K) * count).astype(np.int64)
    return np.diff(ends_K, prepend=0)


def _entropy(chance: Numbers | float) -> Numbers:
    """Of a yes or no, in nats."""
    return -(xlogy(chance, chance) + xlogy(1 - np.asarray(chance), 1 - np.asarray(chance)))
