"""When something is saved: by steps, by epochs, by minutes, and denser at first."""

from __future__ import annotations

from typing import Any

import pytest

from shared.config.save_interval import AnySaveInterval, EveryEpochs, EveryMinutes, EverySteps, dump, is_due, parse


def due_steps(interval: AnySaveInterval, steps: int, epochs_per_step: float = 0.0) -> list[int]:
    return [
        step
        for step in range(1, steps + 1)
        if is_due(interval, step, ((step - 1) * epochs_per_step, step * epochs_per_step), 0.0)
    ]


def test_a_number_is_that_many_steps() -> None:
    assert due_steps(parse(25), 100) == [25, 50, 75, 100]


def test_pairs_are_denser_at_first() -> None:
    assert due_steps(parse([[0, 10], [30, 50], [130, 100]]), 400) == [10, 20, 30, 80, 130, 230, 330]


def test_epochs_are_counted_where_they_end() -> None:
    assert due_steps(parse("2 epochs"), 40, epochs_per_step=0.3) == [7, 14, 20, 27, 34, 40]


def test_an_epoch_that_ends_on_a_step_ends_there_in_spite_of_rounding() -> None:
    assert due_steps(parse("1 epoch"), 30, epochs_per_step=0.1) == [10, 20, 30]


def test_minutes_are_counted_since_the_last_save() -> None:
    assert not is_due(parse("10 minutes"), 5, (0, 1), 599.0)
    assert is_due(parse("10 minutes"), 5, (0, 1), 600.0)


@pytest.mark.parametrize(
    ("value", "interval"),
    [
        (100, EverySteps(((0, 100),))),
        ("2 epochs", EveryEpochs(2)),
        ("1 epoch", EveryEpochs(1)),
        ("0.5 epochs", EveryEpochs(0.5)),
        ("10 minutes", EveryMinutes(10)),
        ([[0, 25], [200, 100]], EverySteps(((0, 25), (200, 100)))),
    ],
)
def test_what_is_written_reads_back_equal(value: Any, interval: AnySaveInterval) -> None:
    assert parse(value) == interval
    assert parse(dump(interval)) == interval


@pytest.mark.parametrize(
    "value", [0, -1, True, 1.5, "often", "0 epochs", "3 hours", [], [[1, 5]], [[0, 5], [0, 6]], [[0, 0]], [[0]], [3]]
)
def test_anything_else_is_refused_with_the_rule(value: Any) -> None:
    with pytest.raises(ValueError, match="epochs"):
        parse(value)
