import math
from collections.abc import Callable

import numpy as np
import pytest

from evaluator.selection.trend import Trend
from shared.statistics.paired import PromptValues

NUM_PROMPTS, NUM_SNAPSHOTS = 8, 16
STEPS = [100 * number for number in range(1, NUM_SNAPSHOTS + 1)]


def composites(curve: list[float], noise: float, seed: int = 0) -> dict[int, PromptValues]:
    rng = np.random.default_rng(seed)
    prompts = rng.normal(size=NUM_PROMPTS)
    return {
        step: {f"p{number}": float(value + prompts[number] + noise * rng.normal()) for number in range(NUM_PROMPTS)}
        for step, value in zip(STEPS, curve, strict=False)
    }


def means(found: dict[int, PromptValues]) -> list[float]:
    return [float(np.mean(list(values.values()))) for values in found.values()]


def test_noisy_snapshots_borrow_strength_from_their_neighbours():
    curve = [-1 + np.exp(-step / 400) for step in STEPS]
    raw, smoothed = [], []
    for seed in range(20):
        found = composites(curve, noise=0.5, seed=seed)
        trend, center = Trend(found), np.mean(means(found)) - np.mean(curve)
        raw.append(np.square(np.array(means(found)) - center - curve).mean())
        smoothed.append(np.square(np.array([trend.level(step) for step in STEPS]) - center - curve).mean())
    assert np.mean(smoothed) < 0.5 * np.mean(raw)


def test_a_snapshot_that_surely_differs_stands_for_itself():
    curve = [-0.01 * number for number in range(NUM_SNAPSHOTS)]
    curve[7] -= 1.0
    found = composites(curve, noise=0.05)
    trend = Trend(found)
    assert min(STEPS, key=trend.level) == STEPS[7]
    assert trend.level(STEPS[7]) == pytest.approx(means(found)[7], abs=0.1)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_snapshots_are_left_as_they_are(count: int):
    found = composites([0.3, -0.2, 0.1][:count], noise=0.3)
    trend = Trend(found)
    assert [trend.level(step) for step in found] == pytest.approx(means(found))


def test_a_straight_line_is_left_as_it_is_whatever_the_distance_between_snapshots():
    steps = [100, 110, 150, 400, 900, 1000]
    line = {step: {"a": -step / 1000, "b": 1 - step / 1000} for step in steps}
    trend = Trend(line)
    assert [trend.level(step) for step in steps] == pytest.approx([0.5 - step / 1000 for step in steps])
    ahead = trend.ahead(500, num_snapshots=4)
    assert (ahead.at_most, ahead.num_snapshots) == (pytest.approx(0.5), 4)


def test_equal_snapshots_are_equal():
    same = {step: {"a": 0.1, "b": 0.7} for step in STEPS}
    assert len({Trend(same).level(step) for step in STEPS}) == 1


def test_a_prompt_that_is_missing_somewhere_moves_no_snapshot():
    found = composites([0.0] * NUM_SNAPSHOTS, noise=0.01)
    extreme = max(found[STEPS[0]], key=found[STEPS[0]].__getitem__)
    whole = Trend(found).level(STEPS[5])
    del found[STEPS[5]][extreme]
    assert Trend(found).level(STEPS[5]) == pytest.approx(whole, abs=0.02)


def test_the_bound_is_as_wide_as_prompts_or_snapshots_make_it():
    steady = {step: {"a": 0.0, "b": 0.0, "c": 0.0} for step in STEPS}
    assert Trend(steady).ahead(100, 8).at_most == pytest.approx(0)
    split = {step: {"a": step / 1000, "b": -step / 1000, "c": 0.0} for step in STEPS}
    assert Trend(split).ahead(100, 8).at_most > 0.05
    shaken = {step: dict.fromkeys("abc", 0.1 * (-1) ** number) for number, step in enumerate(STEPS)}
    assert Trend(shaken).ahead(1000, 8).at_most > 0.1


def bound(curve: Callable[[float], float], num_steps: int) -> float:
    """What `num_steps` more would bring at most, where two prompts follow the curve and the newer half is recent."""
    trend = Trend({step: {"a": -curve(step), "b": 1 - curve(step)} for step in STEPS})
    return trend.ahead(num_steps, NUM_SNAPSHOTS // 2).at_most


def test_learning_that_has_slowed_down_is_taken_to_go_on_slowing_down():
    more, last = 5 * STEPS[0], STEPS[-1]
    for curve in (math.log, math.sqrt):
        truth = curve(last + more) - curve(last)
        straight = more * (curve(last) - curve(STEPS[NUM_SNAPSHOTS // 2])) / (last - STEPS[NUM_SNAPSHOTS // 2])
        assert truth < bound(curve, more) < 1.25 * truth
        assert bound(curve, more) < straight


def test_learning_that_speeds_up_or_stays_is_taken_to_go_on_in_a_straight_line():
    last = float(STEPS[-1])
    assert bound(lambda step: step / last, int(last)) == pytest.approx(1)
    assert bound(lambda step: (step / last) ** 2, int(last)) > 1.5


def test_the_best_by_trend_loses_less_than_the_best_by_luck():
    curve = [-((number / NUM_SNAPSHOTS) ** 0.5) for number in range(1, NUM_SNAPSHOTS + 1)]
    by_trend, by_luck = [], []
    for seed in range(40):
        found = composites(curve, noise=0.4, seed=seed)
        by_trend.append(curve[STEPS.index(min(STEPS, key=Trend(found).level))] - min(curve))
        by_luck.append(curve[int(np.argmin(means(found)))] - min(curve))
    assert np.mean(by_trend) < 0.06
    assert np.mean(by_trend) < 0.6 * np.mean(by_luck)
