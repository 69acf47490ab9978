"""Before training it is said what the planned captions can show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.launch import power
from shared.run_folder.records.inventory import Inventory
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
        "each snapshot is evaluated on 3 held-out captions. With 10 snapshots, a large gain would be surely seen in 12 "
        "of 100 runs, half of it in 3 of 100. The verdict will hardly ever be sure: "
        "hold out 7 or more different captions (data.num_validation, evaluation.num_prompts), add pictures, or choose "
        "by looking at the samples"
    )
    four = power.planned(config(4), captions(4)).caution()
    assert four
    assert "The verdict may miss a large gain" in four


def test_many_captions_are_told_without_a_warning() -> None:
    found = power.planned(config(16), captions(24))
    assert found.caution() is None
    assert "on 16 held-out captions, the best at the end on 8 more. With 10 snapshots, " in found.sentence()
    assert "would be surely seen in 100 of 100 runs" in found.sentence()


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


def test_a_set_that_cannot_spare_more_is_told_how_many_pictures_it_needs() -> None:
    told = power.planned(config(4), captions(4), everything=captions(12)).caution()
    assert told
    assert told.endswith(": add pictures (with 21, 7 can be held out), or choose by looking at the samples")
    spared = power.planned(config(4), captions(4), everything=captions(40)).caution()
    assert spared
    assert "hold out 7 or more different captions (data.num_validation, evaluation.num_prompts)" in spared


def test_a_set_of_few_captions_is_not_told_to_hold_out_more_of_them() -> None:
    told = power.planned(config(8), captions(2) * 4, everything=captions(3) * 14).caution()
    assert told
    assert "hold out" not in told
    assert "only 3 different captions, and pictures of one caption count once. Write 7 or more different ones" in told
    assert "more seeds (evaluation.num_seeds) make it surer about these captions, but say nothing about others" in told


def test_a_set_of_few_pictures_is_told_to_add_some_because_writing_captions_cannot_help() -> None:
    told = power.planned(config(2), captions(2), everything=captions(3)).caution()
    assert told
    assert "Write" not in told
    assert "add pictures (with 21, 7 can be held out), each with a caption of its own, or choose by looking" in told


def test_one_caption_for_all_is_said_with_what_the_verdict_then_holds_for() -> None:
    found = power.planned(config(8), ["sks dress"] * 8, everything=["sks dress"] * 40)
    assert found.caution() is None
    assert found.sentence().startswith(
        "each snapshot is evaluated on 8 held-out pictures of one caption. With 10 snapshots, "
    )
    assert "The verdict holds for this caption only: write different captions to know about others." in found.sentence()
    assert "More seeds (evaluation.num_seeds) make it surer about this caption" in found.sentence()
    few = power.planned(config(3), ["sks dress"] * 3, everything=["sks dress"] * 40).caution()
    assert few
    assert "hold out 7 or more pictures (data.num_validation, evaluation.num_prompts)" in few
    alone = power.planned(config(2, confirm_prompts=0), ["sks dress"], everything=["sks dress"] * 40).caution()
    assert alone
    assert "hold out 7 or more pictures" in alone
    assert "on 1 held-out picture of one caption" in alone


def test_the_final_on_other_captions_does_not_make_fewer() -> None:
    found = power.planned(config(4, confirm_prompts=1), [*["a dress"] * 4, "a coat"])
    assert (found.num_prompts, found.num_further, found.one_caption) == (2, 0, False)


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
    Inventory(pairs=tuple(pairs), paths=inventory.paths, classified=True).write(run.dataset)
    found = power.of_run(run, run.read_config())
    assert (found.num_prompts, found.num_further) == (3, 2)
    assert found.sentence().startswith(
        "each snapshot is evaluated on 3 held-out pictures, the best at the end on 2 more"
    )


def test_prompts_that_one_training_picture_cannot_measure_are_not_counted(make_paper_run: RunMaker) -> None:
    run = make_paper_run(data={"num_validation": 2})
    run.prompts.write_text("a hat\na cap\n", encoding="utf-8")
    inventory, record = run.read_inventory(), run.read_record()
    assert inventory
    assert power.of_run(run, run.read_config()).num_own == 2
    held_out = set(record.dataset.held_out)
    pairs = [pair for pair in inventory.pairs if pair.id in held_out]
    others = [pair for pair in inventory.pairs if pair.id not in held_out]
    Inventory(pairs=(*pairs, others[0]), paths=inventory.paths).write(run.dataset)
    assert power.of_run(run, run.read_config()).num_own == 0


def test_of_another_trainers_loras_more_references_are_asked_for() -> None:
    alike = power.planned(config(4), captions(4), everything=captions(12))
    told = replace(alike, imported=True).caution()
    assert told
    assert told.endswith(
        ": give more reference pictures (--references), 7 or more with different captions, or choose by looking at the "
        "samples"
    )
    assert "demo" not in told


def test_pictures_of_one_caption_are_said_to_count_as_one_prompt() -> None:
    alike = power.planned(config(8), [*captions(7), captions(1)[0]])
    told = "7 held-out captions (8 pictures: those of one caption count as one prompt)"
    assert f"each snapshot is evaluated on {told}" in alike.sentence()
    assert "pictures" not in power.planned(config(8), captions(8)).sentence()


def test_prompts_of_ones_own_count_beside_held_out_captions_or_alone() -> None:
    both = power.planned(config(4), captions(8), own_prompts=["a hat", "a cap", "a hat"])
    assert (both.num_prompts, both.num_own, both.num_further) == (6, 2, 4)
    assert both.sentence().startswith("each snapshot is evaluated on 4 held-out captions and 2 prompts of your own, ")
    tree = {"data": {"path": "p", "num_validation": 0}, "evaluation": {"prompts": "p.txt"}}
    alone = power.planned(
        parse_config({**tree, "train": {"max_train_steps": 1000}}), captions(8), own_prompts=["a", "b"]
    )
    assert (alone.num_prompts, alone.num_further) == (2, 0)
    told = alone.caution()
    assert told
    assert "write 7 or more different prompts into evaluation.prompts" in told
