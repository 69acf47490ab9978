"""The held-out split: it never moves, and it stands for what is trained."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from shared.data.sources import Pair
from shared.data.split.held_out import ENOUGH, choose, pictures_needed, stratum, suggested
from shared.errors import DataError
from shared.launch.power import TYPICAL_SNAPSHOTS
from shared.statistics.power import LARGE_GAIN, chance


def pairs(count: int) -> list[Pair]:
    return [Pair(f"id-{number:03d}", Path(f"{number}.png"), "caption") for number in range(count)]


def folder(name: str, count: int, repeats: int = 1, *, of_class: bool = False) -> list[Pair]:
    ids = [f"{name}/{number:03d}" for number in range(count)]
    return [Pair(pair_id, Path(f"{pair_id}.png"), "caption", repeats, of_class) for pair_id in ids]


def test_the_split_depends_on_ids_and_seed_alone() -> None:
    everything = pairs(50)
    shuffled = random.Random(0).sample(everything, 50)
    moved = [Pair(pair.id, Path("elsewhere") / pair.image, "other words") for pair in everything]
    chosen = choose(everything, 8, seed=3)
    assert choose(shuffled, 8, seed=3) == chosen
    assert choose(moved, 8, seed=3) == chosen
    assert choose(everything, 8, seed=4) != chosen
    assert len(set(chosen)) == 8


def test_the_split_never_moves_between_versions() -> None:
    assert choose(pairs(20), 4, seed=0) == ["id-003", "id-002", "id-005", "id-010"]


def test_holding_out_everything_is_refused() -> None:
    with pytest.raises(DataError, match="4 pictures, 4 of them to be held out"):
        choose(pairs(4), 4, seed=0)
    assert len(choose(pairs(4), 3, seed=0)) == 3


def test_named_pairs_are_held_out_first_and_the_others_are_chosen_by_seed() -> None:
    everything = pairs(20)
    by_seed = choose(everything, 4, seed=0)
    assert choose(everything, 4, 0, ["id-017", by_seed[1], "id-017"]) == [
        "id-017",
        by_seed[1],
        by_seed[0],
        by_seed[2],
    ]


def test_named_pairs_that_do_not_exist_are_listed_with_what_may_be_meant() -> None:
    with pytest.raises(DataError) as caught:
        choose(pairs(20), 4, 0, ["id-007x", "id-001", "zebra"])
    assert "'id-007x' (did you mean 'id-007'?), 'zebra'" in str(caught.value)
    assert "id-001" not in str(caught.value)


def test_more_named_pairs_than_held_out_are_refused() -> None:
    with pytest.raises(DataError, match=r"names 3 pairs, data\.num_validation is 2") as caught:
        choose(pairs(20), 2, 0, ["id-001", "id-002", "id-003"])
    assert "3 or more" in caught.value.hint


def test_pictures_for_regularisation_are_never_held_out() -> None:
    everything = [*folder("img/10_sks dress", 12, 10), *folder("reg/1_dress", 200, of_class=True)]
    assert all(pair_id.startswith("img/") for pair_id in choose(everything, 11, seed=0))
    with pytest.raises(DataError, match="12 pictures, 12 of them to be held out"):
        choose(everything, 12, seed=0)
    with pytest.raises(DataError, match="names pictures for regularisation: reg/1_dress/003"):
        choose(everything, 4, 0, ["reg/1_dress/003"])


@pytest.mark.parametrize(
    ("strata", "count", "expected"),
    [
        ({"10_sks": (20, 10), "1_other": (200, 1)}, 8, {"10_sks": 4, "1_other": 4}),
        ({"a": (90, 1), "b": (10, 1)}, 10, {"a": 9, "b": 1}),
        ({"a": (60, 1), "b": (25, 1), "c": (15, 1)}, 4, {"a": 2, "b": 1, "c": 1}),
        ({"100_close": (2, 100), "1_wide": (200, 1)}, 16, {"100_close": 1, "1_wide": 15}),
        ({"1_a": (3, 1), "1_b": (3, 1)}, 5, {"1_a": 3, "1_b": 2}),
    ],
)
def test_each_folder_is_held_out_in_proportion_to_what_is_trained_of_it(
    strata: dict[str, tuple[int, int]], count: int, expected: dict[str, int]
) -> None:
    everything = [pair for name, (size, repeats) in strata.items() for pair in folder(name, size, repeats)]
    for seed in range(3):
        held = Counter(map(stratum, choose(everything, count, seed)))
        assert sorted(held.values()) == sorted(expected.values())
        if len(set(strata.values())) == len(strata):
            assert held == expected


def test_every_beginning_of_the_list_has_the_proportions_of_the_whole() -> None:
    everything = [*folder("5_front", 30, 5), *folder("1_back", 100), *folder("1_detail", 50)]
    chosen = choose(everything, 24, seed=2)
    assert Counter(map(stratum, chosen[:6])) == {"5_front": 3, "1_back": 2, "1_detail": 1}
    assert Counter(map(stratum, chosen)) == {"5_front": 12, "1_back": 8, "1_detail": 4}


def test_named_pairs_count_for_their_folder() -> None:
    everything = [*folder("a", 50), *folder("b", 50)]
    named = [f"a/{number:03d}" for number in range(4)]
    assert Counter(map(stratum, choose(everything, 8, 0, named))) == {"a": 4, "b": 4}


def test_pictures_with_a_folder_each_are_chosen_by_seed_and_not_by_name() -> None:
    everything = [pair for number in range(40) for pair in folder(f"{number:02d}", 1)]
    splits = {tuple(choose(everything, 4, seed)) for seed in range(5)}
    assert len(splits) == 5


@pytest.mark.parametrize(
    ("pair_id", "name"),
    [
        ("front", ""),
        ("a/b/front", "a"),
        ("img/10_sks dress/front", "img/10_sks dress"),
        ("img/10_sks dress/close/front", "img/10_sks dress"),
        ("2026_summer/front", "2026_summer"),
    ],
)
def test_a_stratum_is_a_kohya_folder_or_else_the_first(pair_id: str, name: str) -> None:
    assert stratum(pair_id) == name


def test_as_many_are_held_out_as_a_verdict_needs_and_the_set_can_give_up() -> None:
    expected = {3: 2, 7: 2, 8: 4, 12: 4, 15: 5, 20: 6, 21: 7, 40: 8, 60: 12, 100: 12, 200: 20, 1000: 24}
    assert {count: suggested(count) for count in expected} == expected
    counts = [suggested(count) for count in range(2, 400)]
    assert counts == sorted(counts), "more pictures never hold out fewer"
    assert [pictures_needed(count) for count in (4, 7, 24, 99)] == [8, 21, 240, 240]


def test_seven_captions_see_a_large_gain_in_nine_of_ten_runs() -> None:
    assert chance(LARGE_GAIN, ENOUGH, TYPICAL_SNAPSHOTS) >= 0.9 > chance(LARGE_GAIN, ENOUGH - 1, TYPICAL_SNAPSHOTS)
