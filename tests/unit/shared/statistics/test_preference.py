"""Bradley-Terry with the metrics as prior."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import beta

from shared.run_folder.averages import averaged
from shared.run_folder.records.contest import Contest
from shared.statistics.preference import SCALES, WIDTHS, Comparison, Posterior, _mode  # pyright: ignore[reportPrivateUsage]
from shared.statistics.proportion import share_interval

STEPS = (0, 100, 200, 300)


def contest(*means: float, error: float = 0.05) -> Contest:
    size = len(means)
    rows = tuple(tuple(error**2 * (row == column and row > 0) for column in range(size)) for row in range(size))
    return Contest(steps=STEPS[:size], means=means, covariance=rows, unit=0.2)


def test_without_votes_the_metrics_decide() -> None:
    found = Posterior(contest(0, 0.4, 1.0, 0.7), [])
    chances = found.chances((100, 200, 300))
    assert max(chances, key=lambda step: chances[step]) == 200
    assert sum(chances.values()) == pytest.approx(1)
    assert found.strength(0).mean == 0
    assert found.strength(200).mean == pytest.approx(1.0, abs=0.05)


def test_votes_move_it_and_a_few_do_not_make_it_certain() -> None:
    competing = contest(0, 0.4, 1.0, 0.7)
    chances = [
        Posterior(competing, [Comparison(300, 200, 1.0)] * count).chance_over(300, 200) for count in (0, 1, 3, 8, 20)
    ]
    assert chances == sorted(chances)
    assert chances[0] < 0.4
    assert 0.9 < chances[3] < chances[4] <= 1
    assert chances[1] < 0.7


def test_equal_is_half_a_vote_for_each() -> None:
    competing = contest(0, 0.9, 1.0)
    halves = Posterior(competing, [Comparison(100, 200, 0.5)] * 6)
    both = Posterior(competing, [Comparison(100, 200, 1.0), Comparison(200, 100, 1.0)] * 3)
    assert halves.chance_over(100, 200) == both.chance_over(100, 200)
    assert abs(halves.strength(100).mean - halves.strength(200).mean) < 0.1, "they are nearer than the metrics say"


def test_the_same_votes_give_the_same_numbers_in_any_order() -> None:
    votes = [Comparison(100, 200, 1.0), Comparison(300, 200, 0.5), Comparison(0, 300, 0.0)]
    one, other = Posterior(contest(0, 1, 1, 1), votes), Posterior(contest(0, 1, 1, 1), votes[::-1])
    assert [one.strength(step) for step in STEPS] == [other.strength(step) for step in STEPS]


def test_the_mode_is_that_of_another_optimizer() -> None:
    means, covariance = np.array([0.0, 0.5, 0.9]), np.array([[0.5, 0.1, 0], [0.1, 0.4, 0.2], [0, 0.2, 0.6]])
    wins, scale = np.array([[0, 1, 0.5], [4, 0, 3], [2.5, 1, 0]]), 0.3

    def loss(strengths: np.ndarray) -> float:
        gaps = (strengths[:, None] - strengths) / scale
        off = strengths - means
        return float((wins * np.logaddexp(0, -gaps)).sum() + 0.5 * off @ np.linalg.solve(covariance, off))

    found = minimize(loss, means, method="BFGS", options={"gtol": 1e-9})
    mode, root = _mode(means, covariance, wins, scale)
    assert mode == pytest.approx(found.x, abs=1e-6)
    shifts = 1e-4 * np.eye(3)
    hessian = [
        [(loss(mode + a + b) - loss(mode + a - b) - loss(mode - a + b) + loss(mode - a - b)) / 4e-8 for a in shifts]
        for b in shifts
    ]
    assert root @ root.T == pytest.approx(np.linalg.inv(hessian), rel=1e-4)


def by_rejection(num_votes: int) -> tuple[float, float]:
    """(mean strength, its 2.5 % quantile) of one snapshot that won every vote against the base model: drawn from the
    prior, kept as often as the votes are likely."""
    random, kept = np.random.default_rng(3), list[np.ndarray]()
    for width in WIDTHS:
        for scale in SCALES:
            gaps = random.normal(0, width * np.sqrt(2), 40_000)
            kept.append(gaps[random.random(len(gaps)) < (1 / (1 + np.exp(-gaps / scale))) ** num_votes])
    gaps = np.concatenate(kept)
    return float(gaps.mean()), float(np.quantile(gaps, 0.025))


@pytest.mark.parametrize("num_votes", [0, 2, 12])
def test_unanimous_votes_are_believed_as_much_as_by_drawing_from_the_prior(num_votes: int) -> None:
    flat = Contest(steps=(0, 100), means=(0, 0), covariance=((0, 0), (0, 0)), unit=1.0)
    found = Posterior(flat, [Comparison(100, 0, 1.0)] * num_votes).strength(100)
    mean, low = by_rejection(num_votes)
    assert found.mean == pytest.approx(mean, abs=0.15)
    assert found.low == pytest.approx(low, abs=0.25 if num_votes == 0 else 0.1)


def test_a_vote_on_two_that_may_be_the_best_tells_more_than_one_that_is_clear() -> None:
    found = Posterior(contest(0, 1.0, 1.02, 0.1), [Comparison(100, 0, 1.0)] * 8)
    told = {pair: found.information(*pair, 1.0) for pair in ((100, 200), (0, 100), (200, 300))}
    assert max(told, key=lambda pair: told[pair]) == (100, 200)
    assert min(told.values()) >= 0


@pytest.mark.parametrize(("count", "of"), [(0, 5), (5, 5), (7, 10), (30, 40)])
def test_the_interval_of_a_share_is_that_of_jeffreys(count: int, of: int) -> None:
    low, high = share_interval(count, of)
    assert low == pytest.approx(beta.ppf(0.025, count + 0.5, of - count + 0.5) if count else 0)
    assert high == pytest.approx(beta.ppf(0.975, count + 0.5, of - count + 0.5) if count < of else 1)
    assert share_interval(0, 0) == (0, 1)


def test_an_average_of_snapshots_is_like_its_neighbours() -> None:
    between = averaged(200, 300)
    assert between
    competing = contest(0, 1.0, 1.0, 1.0)
    with_average = competing.model_copy(update={"steps": (0, 100, 200, between)})
    votes = [Comparison(200, 100, 1.0)] * 6
    assert Posterior(with_average, votes).chance_over(between, 100) > 0.6, "nobody has seen it yet"
