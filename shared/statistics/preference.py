"""Which snapshot people prefer, from votes between two and from what the metrics say (Bradley & Terry 1952).

Each snapshot has a strength, in units of the composite; more is better. The metrics give the prior: a mean for each
snapshot, and how far their prompts leave it open (a covariance). The eye may see something else than the metrics do: a
Gaussian of unknown width is added for that, in which snapshots that are near one another in training are alike. A vote
prefers i to j with probability 1 / (1 + exp(-(strength_i - strength_j) / scale)); `equal` is half a vote for each.

How well people tell two strengths apart (the scale) and how far the eye differs from the metrics (the width) are not
known either. Both are tried on a grid, and every point of it counts as much as it explains the votes: so votes that
contradict the metrics widen what is believed possible, and votes that agree with them do not. At each point, strengths
are drawn around the mode of the posterior, half as wide as the posterior is there and half as wide as the prior, and
weighed by what the posterior is at them (importance sampling). A Gaussian around the mode would be wrong where votes
are unanimous: there the posterior is skew.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit, xlogy

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
NUM_TRIED = 1024
"""Draws that are weighed, at each point of the grid."""
FREEDOM = 5
"""Of Student's t, whose tails are to be longer than the posterior's."""
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
        likeness_SS, wins_SS = _likeness(contest.steps), self._wins(found)
        random, count = np.random.default_rng(0), len(means_S)
        normal_NS = random.standard_normal((NUM_TRIED, count))
        student_NS = normal_NS / np.sqrt(random.chisquare(FREEDOM, (NUM_TRIED, 1)) / FREEDOM)
        tried: list[Numbers] = []
        logs: list[Numbers] = []
        for width in WIDTHS:
            covariance_SS = np.array(contest.covariance) + (width * unit) ** 2 * likeness_SS
            covariance_SS += JITTER * covariance_SS.diagonal().max() * np.eye(len(means_S))
            for scale in SCALES:
                mode_S, root_SS = _mode(means_S, covariance_SS, wins_SS, scale * unit)
                roots = root_SS, np.linalg.cholesky(covariance_SS)
                away_NS = np.concatenate([student_NS[place::2] @ root.T for place, root in enumerate(roots)])
                proposed_N = np.logaddexp.reduce([_log_student(away_NS, root) for root in roots])
                posterior_N = _log_posterior(mode_S + away_NS, means_S, covariance_SS, wins_SS, scale * unit)
                tried.append(mode_S + away_NS)
                logs.append(posterior_N - proposed_N)
        chosen = _resampled(np.concatenate(logs), NUM_DRAWS)
        self._scales_N = np.tile(np.repeat(np.array(SCALES) * unit, NUM_TRIED), len(WIDTHS))[chosen]
        return np.concatenate(tried)[chosen]

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


def _mode(means_S: Numbers, covariance_SS: Numbers, wins_SS: Numbers, scale: float) -> tuple[Numbers, Numbers]:
    """(mode of the posterior, root of the covariance that its curvature there gives)."""
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
    return mode_S, np.asarray(np.linalg.cholesky(around_SS), dtype=np.float64)


def _log_student(away_NS: Numbers, root_SS: Numbers) -> Numbers:
    """(N,) Logarithm of the density of Student's t, up to what is the same for all."""
    squares_N = (np.linalg.solve(root_SS, away_NS.T) ** 2).sum(axis=0)
    num_dimensions = away_NS.shape[1]
    return -0.5 * (FREEDOM + num_dimensions) * np.log1p(squares_N / FREEDOM) - np.log(root_SS.diagonal()).sum()


def _log_posterior(
    values_NS: Numbers, means_S: Numbers, covariance_SS: Numbers, wins_SS: Numbers, scale: float
) -> Numbers:
    """(N,) Up to what is the same for all."""
    off_NS = values_NS - means_S
    posterior_N = -0.5 * ((off_NS @ np.linalg.inv(covariance_SS)) * off_NS).sum(axis=1)
    posterior_N -= 0.5 * float(np.linalg.slogdet(covariance_SS)[1])
    for one, other in np.argwhere(wins_SS > 0):
        posterior_N += wins_SS[one, other] * log_expit((values_NS[:, one] - values_NS[:, other]) / scale)
    return posterior_N


def _curvature(votes_SS: Numbers, chances_SS: Numbers, scale: float) -> Numbers:
    """Minus the second derivative of the log likelihood."""
    weights_SS = votes_SS * chances_SS * (1 - chances_SS) / scale**2
    return np.diag(weights_SS.sum(axis=1)) - weights_SS


def _resampled(logs_M: Numbers, count: int) -> NDArray[np.int64]:
    """So many places, each as often as its weight asks for. logs_M: logarithms of the weights."""
    ends_M = np.cumsum(np.exp(logs_M - logs_M.max()))
    return np.searchsorted(ends_M, (np.arange(count) + 0.5) / count * ends_M[-1])


def _entropy(chance: Numbers | float) -> Numbers:
    """Of a yes or no, in nats."""
    return -(xlogy(chance, chance) + xlogy(1 - np.asarray(chance), 1 - np.asarray(chance)))
