"""What is said of a verdict besides its reason."""

from __future__ import annotations

import pytest

from evaluator.selection import cautions
from evaluator.selection.held_out_losses import Validated
from evaluator.selection.overfitting import MIN_SINCE_LOWEST, gap_rising
from shared.run_folder.records.evaluation_result import Sample
from shared.statistics.power import LARGE_GAIN, chance
from tests.unit.evaluator.test_ranking import evaluation, rank


def losses(*values: float, alone: bool = False) -> list[Validated]:
    """Validations 10 steps apart; alone: without the losses of single pictures."""
    parts = ({}, {}) if alone else ({"a": 1.0, "b": 1.0}, {"c": 1.0, "d": 1.0})
    return [Validated(10 * number, value, 0.0, *parts) for number, value in enumerate(values)]


@pytest.mark.parametrize("since", [(1.12,), (1.05, 1.12)])
def test_a_rise_that_too_few_validations_follow_is_said_with_its_numbers(since: tuple[float, ...]) -> None:
    (told,) = map(str, cautions.untested_rise(losses(1.2, 1.0, *since)))
    last = 10 * (1 + len(since))
    assert told.startswith(f"The held-out loss at step {last} is 12% above its lowest (1.12 against 1 at step 10).")
    assert "`gap` needs 3" in told
    assert "Compare the pictures with those of step 10" in told
    assert not gap_rising(losses(1.2, 1.0, *since)).raised, "the sign cannot be raised by so few"


def test_a_rise_that_is_tested_or_small_is_not_said_again() -> None:
    tested = losses(1.2, 1.0, *(1 + 0.04 * number for number in range(1, MIN_SINCE_LOWEST + 1)))
    assert list(cautions.untested_rise(tested)) == []
    assert list(cautions.untested_rise(losses(1.2, 1.0, 1.03))) == []
    assert list(cautions.untested_rise(losses(1.2, 1.1, 1.0))) == []
    assert list(cautions.untested_rise([])) == []


def test_a_rise_without_the_losses_of_single_pictures_is_said_as_untested() -> None:
    (told,) = map(str, cautions.untested_rise(losses(1.2, 1.0, *[1.12] * 5, alone=True)))
    assert "the losses of single examples, which the sign `gap` needs, are not recorded" in told


def test_one_caption_limits_the_verdict_and_more_seeds_do_not_help() -> None:
    def of_one_caption(samples: list[Sample]) -> list[Sample]:
        return [sample.model_copy(update={"prompt": "sks dress"}) for sample in samples]

    ranking = rank({0: of_one_caption(evaluation()), 100: of_one_caption(evaluation(0.3, 1))})
    (told,) = map(str, cautions.of_captions(ranking, 8, proven=True))
    assert told.startswith("All held-out pairs have the same prompt, so the verdict holds for this prompt only.")
    assert "write different captions" in told
    assert "More seeds (evaluation.num_seeds) only make it surer about this one." in told


def test_few_prompts_are_said_where_nothing_is_shown() -> None:
    ranking = rank({0: evaluation(), 100: evaluation(0.0, 1)})
    (told,) = map(str, cautions.of_captions(ranking, 3, proven=False))
    assert told.startswith("With 3 different prompts and 1 snapshot, a large gain would be surely seen in ")
    assert f"in {round(100 * chance(LARGE_GAIN, 3, 1))} of 100 runs: " in told
    assert "hold out more (data.num_validation, evaluation.num_prompts)" in told
    (told,) = map(str, cautions.of_captions(ranking, 3, proven=False, imported=True))
    assert told.endswith(": give more reference pictures (--references), or choose by looking at the pictures.")
    assert list(cautions.of_captions(ranking, 3, proven=True)) == []
    assert list(cautions.of_captions(ranking, 8, proven=False)) == []


def test_a_choice_that_the_final_did_not_look_at_says_so() -> None:
    assert list(cautions.unconfirmed(600, (600, 750), {600, 750, 900})) == []
    (told,) = map(str, cautions.unconfirmed(150, (150, 600, 900), {600, 750, 900}))
    assert told.startswith(
        "The final has looked at steps 600, 750, 900, not yet at step 150: until then, this choice rests on the first"
    )
    (told,) = map(str, cautions.unconfirmed(600, (300, 600, 900), {600, 750, 900}))
    assert "not yet at step 300, now among the best: until then, this choice rests on the first" in told
