"""Where the members of a fleet go."""

from __future__ import annotations

from evaluator.fleet.places import Place, allotted

SMALL, LARGE = Place("a", "small", 0, 2), Place("b", "large", 0, 16)
ONE_GPU, TWO_GPUS = Place("c", "one", 1, 8), Place("d", "two", 2, 8)


def names(places: list[Place]) -> list[str]:
    return [place.name for place in places]


def test_each_gpu_gets_one_and_each_machine_without_any_gets_two() -> None:
    assert names(allotted([ONE_GPU, TWO_GPUS, LARGE], {}, (), None, gpus=True)) == ["one", "two", "two"]
    assert names(allotted([SMALL, LARGE], {}, (), None, gpus=False)) == ["small", "large", "small", "large"]


def test_as_many_as_are_wanted_are_spread_over_the_machines() -> None:
    assert names(allotted([SMALL, LARGE], {}, (), 6, gpus=False)) == ["small", "large"] * 2 + ["large"] * 2
    assert names(allotted([ONE_GPU, TWO_GPUS], {}, (), 2, gpus=True)) == ["one", "two"]
    assert names(allotted([ONE_GPU, TWO_GPUS], {}, (), 9, gpus=True)) == ["one", "two", "two"]


def test_one_that_has_died_is_replaced_and_one_that_refuses_gets_none() -> None:
    assert names(allotted([SMALL, LARGE], {"a": 2, "b": 1}, (), None, gpus=False)) == ["large"]
    assert names(allotted([SMALL, LARGE], {}, {"b"}, None, gpus=False)) == ["small", "small"]
    assert names(allotted([LARGE], {"b": 1, "gone": 1}, (), 2, gpus=False)) == []
