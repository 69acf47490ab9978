"""Before training it is said what the planned captions can show."""

from __future__ import annotations

import pytest

from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.launch import power
from shared.run_folder.records import Inventory
from tests.conftest import RunMaker


def config(num_prompts: int, num_validation: int = 24, **evaluation: object) -> Config:
    return parse_config(
        {
            "data": {"path": "p", "num_validation": num_validation},
            "train": {"max_train_steps": 1000, "snapshot_steps": 100},
            "evaluation": {"num_prompts": num_prompts, **evaluation},
        }
    )


def captions(count: int) -> list[str]:
    return [f"dress {number}" for number in range(count)]


def test_few_captions_are_warned_of_with_an_example_and_a_cure() -> None:
    told = power.planned(config(3), captions(3)).caution()
    assert told == (
        "each snapshot is evaluated on 3 held-out captions: the best of 10 is called better than the base model if its "
        "mean gain is more than 8.1 times the gain's spread between captions; the demo's gain, 2.8 times its spread, "
        "would be seen in 12 of 100 runs, one half as large in 3 of 100; the verdict will hardly ever be sure: "
        "hold out 7 or more different captions (data.num_validation, evaluation.num_prompts), add pictures, or choose "
        "by looking at the samples"
    )
    four = power.planned(config(4), captions(4)).caution()
    assert four
    assert "the verdict may miss a large gain" in four


def test_many_captions_are_told_without_a_warning() -> None:
    found = power.planned(config(16), captions(24))
    assert found.caution() is None
    assert "on 16 held-out captions, the best at the end on 8 more: " in found.sentence()
    assert "would be seen in 100 of 100 runs" in found.sentence()


def test_captions_that_are_equal_count_once_unless_all_are() -> None:
    twice = [*captions(3), *captions(3)]
    assert power.planned(config(4), twice).num_prompts == 3
    assert power.planned(config(4, confirm_prompts=0), twice).num_further == 0
    assert power.planned(config(4), ["a sks dress"] * 4).num_prompts == 4


@pytest.mark.parametrize(
    ("snapshot_steps", "every", "expected"), [(100, 1, 10), (300, 1, 4), (100, 4, 3), ("10 minutes", 1, 10)]
)
def test_snapshots_are_counted_as_they_will_be_evaluated(snapshot_steps: object, every: int, expected: int) -> None:
    changed = config(4, every=every)
    train = {**changed.train.model_dump(), "snapshot_steps": snapshot_steps}
    changed = changed.model_copy(update={"train": type(changed.train).model_validate(train)})
    assert power.planned(changed, captions(4)).num_snapshots == expected


def test_one_caption_shows_nothing() -> None:
    told = power.planned(config(2, confirm_prompts=0), ["a dress"]).caution()
    assert told
    assert "on 1 held-out caption: one caption says nothing about others" in told


def test_of_a_run_the_captions_that_it_was_made_with_count(make_paper_run: RunMaker) -> None:
    run = make_paper_run(data={"num_validation": 5}, evaluation={"num_prompts": 3, "confirm_prompts": 2})
    inventory, held_out = run.read_inventory(), run.read_record().dataset.held_out
    assert inventory
    found = power.of_run(run, run.read_config())
    assert (found.num_prompts, found.num_further) == (3, 2)
    pairs = [
        pair.model_copy(update={"caption": "the same"}) if pair.id in held_out[1:4] else pair
        for pair in inventory.pairs
    ]
    Inventory(pairs=tuple(pairs), paths=inventory.paths).write(run.dataset)
    found = power.of_run(run, run.read_config())
    assert (found.num_prompts, found.num_further) == (2, 1)
