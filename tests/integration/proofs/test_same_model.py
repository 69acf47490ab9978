"""Proof 4 on pictures that a model has drawn: a model compared with itself is not found better, nor overfitted."""

from __future__ import annotations

import pytest

from benchmarks.meaning import Pool, draw_pool, same_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pool() -> Pool:
    return draw_pool()


@pytest.mark.parametrize("num_snapshots", [1, 4])
def test_a_model_compared_with_itself_is_rarely_called_better_or_overfitted(pool: Pool, num_snapshots: int) -> None:
    found = same_model(pool, num_snapshots, num_trials=400)
    assert found.better <= 0.05
    assert found.signalled <= 0.05


def test_the_intervals_of_drawn_pictures_hold_the_truth_as_often_as_they_say(pool: Pool) -> None:
    for metric, share in same_model(pool, 1, num_trials=400).covered.items():
        assert 0.92 <= share <= 0.985, metric  # 400 resamples of 12 prompts: ± 1.5 % around 95 %, and they overlap
