"""Who wins a sweep, by how much, and what seeds alone make."""

from __future__ import annotations

import statistics

import pytest
from scipy import stats

from shared.sweeps.standing import Placed, best_settings, standing


def placed(number: int, setting: str, mean: float, *, spread: float = 0.0, flagged: bool = False) -> Placed:
    """Four prompts around a mean."""
    values = {f"p{one}": mean + spread * (one - 1.5) for one in range(4)}
    return Placed(number, setting, values, flagged)


def test_nothing_is_said_of_nothing() -> None:
    found = standing([])
    assert (found.settings, found.difference, found.noise, found.within_noise) == ((), None, None, None)


def test_trials_of_one_setting_are_one_and_their_deviation_is_the_noise_floor() -> None:
    values = {"a": (-1.0, -1.2, -0.9), "b": (-0.8, -0.6)}
    trials = [
        placed(n, key, mean) for n, (key, mean) in enumerate((k, m) for k, means in values.items() for m in means)
    ]
    found = standing([*trials, placed(9, "c", -3.0)])
    assert [setting.trials[0].setting for setting in found.settings] == ["a", "b", "c"], "several seeds come first"
    assert found.settings[0].mean == pytest.approx(statistics.mean(values["a"]))
    assert found.noise
    squares = sum(statistics.variance(group) * (len(group) - 1) for group in values.values())
    assert found.noise.deviation == pytest.approx((squares / 3) ** 0.5)
    assert (found.noise.num_settings, found.noise.num_trials) == (2, 5)
    margin = stats.t.ppf(0.975, 3) * found.noise.deviation * (1 / 3 + 1 / 2) ** 0.5
    assert found.noise.margin == pytest.approx(margin)
    assert found.within_noise == (abs(found.settings[0].mean - found.settings[1].mean) <= margin)


def test_the_interval_to_the_runner_up_is_paired_and_holds_for_all_settings() -> None:
    """Prompts differ far more than settings do: only a paired interval sees the difference."""
    two = [placed(0, "a", -1.0, spread=0.5), placed(1, "b", -0.9, spread=0.51)]
    few, many = standing(two), standing([*two, *(placed(n, str(n), 0.0) for n in range(2, 9))])
    assert few.difference
    assert few.difference.is_below_zero
    assert many.difference
    assert many.difference.mean == pytest.approx(few.difference.mean) == pytest.approx(-0.1)
    width = [one.difference.high - one.difference.low for one in (few, many)]  # type: ignore[operator,union-attr]
    assert width[1] > 1.5 * width[0]


def test_what_may_be_shipped_comes_before_what_may_not() -> None:
    found = standing([placed(0, "a", -5.0, flagged=True), placed(1, "b", -1.0)])
    assert [setting.trials[0].setting for setting in found.settings] == ["b", "a"]


def test_the_best_by_their_first_trials_are_trained_again() -> None:
    trials = [placed(0, "a", -1.0), placed(1, "b", -2.0), placed(2, "c", -3.0, flagged=True), placed(3, "a", -9.0)]
    assert best_settings(trials, 2) == ["b", "a"]
