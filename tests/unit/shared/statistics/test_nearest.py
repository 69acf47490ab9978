import numpy as np
import pytest

from shared.statistics.nearest import probability_of_as_many_nearer, probability_of_nearer


@pytest.mark.parametrize("count", [4, 12, 100])
def test_the_probability_is_exact_at_any_number_of_values_seen(count: int) -> None:
    rng = np.random.default_rng(count)
    drawn = rng.weibull(3, (400, count + 5)) * 0.7
    found = np.concatenate([probability_of_nearer(row[count:], row[:count]) for row in drawn])
    for level in (0.5, 0.1, 0.01):
        assert np.mean(found < level) == pytest.approx(level, abs=4 * np.sqrt(level / 2000))


def test_the_nearer_the_less_probable_down_to_nothing() -> None:
    seen = np.linspace(0.3, 0.6, 12)
    found = probability_of_nearer(np.array([0.5, 0.2, 0.05, 1e-6, 0.0]), seen)
    assert (np.diff(found[:4]) < 0).all()
    assert found[3] == found[4] < 1e-9


def test_values_that_are_all_alike_are_no_error() -> None:
    assert probability_of_nearer(np.array([0.5, 0.1]), np.full(5, 0.5)) == pytest.approx([0.6, 0], abs=0.2)


def test_the_probability_of_as_many_is_no_lower_than_it_is_found_by_chance() -> None:
    rng = np.random.default_rng(3)
    drawn = rng.weibull(3, (300, 12 + 4)) * 0.7
    third = [np.sort(probability_of_as_many_nearer(row[12:], row[:12]))[[0]] for row in drawn]
    alone = [
        probability_of_as_many_nearer(row[12:13], row[:12]) - probability_of_nearer(row[12:13], row[:12])
        for row in drawn[:50]
    ]
    assert np.abs(alone).max() < 0.01
    for level in (0.1, 0.02):
        assert np.mean(np.concatenate(third) * 4 < level) < level + 2 * np.sqrt(level / 300)


def test_several_near_ones_tell_more_than_one() -> None:
    seen = np.linspace(0.3, 0.9, 12)
    one, *_, all_four = np.sort(probability_of_as_many_nearer(np.array([0.25, 1.0, 1.0, 1.0]), seen))
    four = probability_of_as_many_nearer(np.array([0.25, 0.24, 0.25, 0.23]), seen).min()
    assert four < one / 30 < all_four
