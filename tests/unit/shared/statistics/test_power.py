"""What a plan can show, before anything is trained."""

import numpy as np
import pytest

from shared.statistics.paired import estimate
from shared.statistics.power import chance, detectable


@pytest.mark.parametrize("num_prompts", [2, 3, 4, 16])
def test_what_is_detectable_is_where_the_interval_begins_to_exclude_zero(num_prompts: int) -> None:
    values = np.random.default_rng(0).normal(size=num_prompts)
    values = (values - values.mean()) / values.std(ddof=1)
    for factor, is_sure in ((1.001, True), (0.999, False)):
        found = estimate(values + factor * detectable(num_prompts))
        assert found
        assert found.is_above_zero == is_sure


def test_the_best_of_many_has_to_be_better_than_one() -> None:
    assert detectable(4, 10) == pytest.approx(3.73, abs=0.01)
    assert [detectable(4, count) for count in (1, 5, 20)] == sorted(detectable(4, count) for count in (1, 5, 20))


def test_the_chance_is_how_often_the_interval_excludes_zero() -> None:
    rng, level = np.random.default_rng(8), 1 - 0.05 / 10
    gains = 2.0 + rng.normal(size=(4000, 5))
    seen = [found.is_above_zero for row in gains if (found := estimate(row, level))]
    assert chance(2.0, 5, 10) == pytest.approx(np.mean(seen), abs=0.025)
    assert chance(2.8, 1, 10) == 0, "one prompt has no interval"
