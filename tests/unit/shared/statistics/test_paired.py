import numpy as np
import pytest
from scipy import stats

from shared.run_folder.records.evaluation_result import Sample
from shared.statistics.paired import by_prompt, difference, estimate, paired_deltas, ratio, spread


def sample(prompt: str, seed: int, value: float | None) -> Sample:
    return Sample(prompt_id=prompt, prompt=prompt, seed=seed, image="", batch=0, metrics={"loss": value})


def test_the_interval_is_students():
    values = [0.1, 0.4, -0.2, 0.3, 0.5]
    found = estimate(values)
    assert found is not None
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.num_prompts == 5


def test_one_prompt_has_a_mean_and_no_interval():
    found = estimate([0.3])
    assert found is not None
    assert (found.mean, found.low, found.high, found.standard_error) == (0.3, None, None, None)
    assert not found.is_above_zero


def test_nothing_has_no_estimate():
    assert estimate([]) is None


def test_an_interval_that_touches_zero_claims_nothing():
    found = estimate([0.0, 0.0, 0.0])
    assert found is not None
    assert not found.is_below_zero
    assert not found.is_above_zero


def captioned(pair: str, caption: str, value: float) -> Sample:
    return sample(pair, 1, value).model_copy(update={"prompt": caption})


def test_pairs_with_the_same_caption_are_one_prompt():
    base = [captioned(pair, caption, 1.0) for pair, caption in (("a", "red"), ("b", "red"), ("c", "blue"))]
    after = [captioned("a", "red", 0.5), captioned("b", "red", 0.1), captioned("c", "blue", 0.7)]
    assert by_prompt(after, "loss") == {"red": pytest.approx(0.3), "blue": 0.7}
    assert paired_deltas(after, base, "loss") == {"red": pytest.approx(-0.7), "blue": pytest.approx(-0.3)}


def test_where_all_captions_are_the_same_each_pair_counts():
    assert by_prompt([captioned("a", "sks dress", 0.5), captioned("b", "sks dress", 0.1)], "loss") == {
        "a": 0.5,
        "b": 0.1,
    }


def test_a_pair_without_a_caption_is_its_own_prompt():
    assert by_prompt([captioned("a", "", 0.5), captioned("b", "", 0.1)], "loss") == {"a": 0.5, "b": 0.1}


def test_seeds_are_averaged_within_a_prompt():
    assert by_prompt([sample("a", 1, 0.2), sample("a", 2, 0.4), sample("b", 1, 0.5)], "loss") == pytest.approx(
        {"a": 0.3, "b": 0.5}
    )


def test_pictures_are_paired_by_prompt_and_seed_whatever_their_order():
    before = [sample("a", 1, 0.1), sample("a", 2, 0.9), sample("b", 1, 0.5)]
    after = [sample("b", 1, 0.4), sample("a", 2, 0.8), sample("a", 1, 0.3)]
    assert paired_deltas(after, before, "loss") == pytest.approx({"a": 0.05, "b": -0.1})


def test_a_blank_on_either_side_leaves_its_pair_out():
    before = [sample("a", 1, None), sample("a", 2, 0.9), sample("b", 1, 0.5)]
    after = [sample("a", 1, 0.3), sample("a", 2, 0.8), sample("b", 1, None), sample("c", 1, 0.2)]
    assert paired_deltas(after, before, "loss") == pytest.approx({"a": -0.1})


def test_a_difference_is_over_the_prompts_both_have():
    found = difference({"a": 1.0, "b": 2.0}, {"b": 1.5, "c": 9.0})
    assert found is not None
    assert (found.mean, found.num_prompts) == (0.5, 1)


def test_the_spread_is_the_standard_deviation_over_prompts():
    assert spread({"a": 0.1, "b": 0.3}) == pytest.approx(0.2 / 2**0.5)
    assert spread({"a": 0.1}) == 0


def test_a_ratio_is_of_means_over_the_prompts_both_have():
    found = ratio({"a": 1.0, "b": 3.0, "c": 9.0}, {"a": 2.0, "b": 2.0})
    assert found is not None
    assert (found.mean, found.num_prompts) == (1.0, 2)


def test_a_ratio_to_nothing_is_none():
    assert ratio({"a": 1.0}, {"b": 1.0}) is None
    assert ratio({"a": 1.0}, {"a": 0.0}) is None
    single = ratio({"a": 1.0}, {"a": 2.0})
    assert single is not None
    assert (single.mean, single.low) == (0.5, None)


def test_the_interval_of_a_ratio_covers_the_truth_as_often_as_it_says():
    rng, covered = np.random.default_rng(5), []
    for _ in range(2000):
        other = rng.normal(3, 0.6, 12)
        one = 0.6 * other + rng.normal(0, 0.1, 12)
        found = ratio(dict(zip("abcdefghijkl", one, strict=True)), dict(zip("abcdefghijkl", other, strict=True)))
        assert found is not None
        covered.append((found.low or 0) <= 0.6 <= (found.high or 0))
    assert 0.93 <= np.mean(covered) <= 0.97
