import re
from collections.abc import Mapping

import pytest

from evaluator.selection.ending.confirmation import confirm, finalists
from evaluator.selection.summary import Summary
from shared.run_folder.records.evaluation_result import Sample
from shared.statistics.paired import mean
from tests.unit.evaluator.test_ranking import evaluation, rank, run_of

Rows = dict[int, list[Sample]]


def first_of(*gains: float, **changes: float) -> Rows:
    """Evaluations of step 0 and one snapshot for each gain, 100 steps apart."""
    return {0: evaluation(**changes)} | {100 * n: evaluation(gain, n, **changes) for n, gain in enumerate(gains, 1)}


def again(gains: Mapping[int, float], *, unseen: bool = False, **changes: float) -> Rows:
    """The same prompts with other seeds, or other prompts."""

    def moved(sample: Sample) -> Sample:
        pair = f"further-{sample.prompt_id}" if unseen else sample.prompt_id
        return sample.model_copy(update={"prompt_id": pair, "seed": sample.seed + 50})

    rows = {step: evaluation(gain, 90 + step, **changes) for step, gain in {0: 0.0, **gains}.items()}
    return {step: [moved(sample) for sample in samples] for step, samples in rows.items()}


def test_the_chosen_one_and_the_two_best_others_are_finalists():
    assert finalists(run_of(0.05, 0.2, 0.1, 0.3, 0.25)) == (200, 400, 500)
    equals = run_of(*[0.2] * 9)
    assert equals.best is not None
    assert equals.best.step in finalists(equals)


def test_the_number_of_finalists_is_a_setting():
    rows = first_of(0.05, 0.1, 0.3, 0.29)
    found = confirm(rank(rows), rows, again({300: 0.3, 400: 0.4}), count=2)
    assert found
    assert found.finalists == (300, 400)
    assert confirm(rank(rows), rows, again({300: 0.3, 400: 0.4}), count=3) is None, "one is missing"


def test_a_snapshot_that_ignores_its_prompts_is_no_finalist():
    rows = {0: evaluation(), 100: evaluation(0.1, 1), 200: evaluation(0.3, 2, overrides={"clip_t": 0.1})}
    assert finalists(rank(rows)) == (100,)


def test_no_snapshot_no_final():
    assert finalists(rank({0: evaluation()})) == ()


def test_new_seeds_of_the_same_prompts_confirm_what_holds_for_them_too():
    rows = first_of(0.05, 0.1, 0.3)
    found = confirm(rank(rows), rows, again({100: 0.05, 200: 0.1, 300: 0.3}))
    assert found is not None
    assert (found.step, found.agrees, found.better_than_base) == (300, True, True)
    assert (found.num_prompts, found.num_unseen, found.num_pictures) == (8, 0, 16)
    assert found.composite
    interval = f"{found.composite.delta:+.2f} ({found.composite.low:+.2f} to {found.composite.high:+.2f})"
    assert found.reason == (
        f"Over 8 prompts of both evaluations step 300 is better than the base model by the composite {interval}. "
        "Steps 100, 200, 300 were evaluated again with 2 new seeds on the same 8 prompts. Both evaluations together "
        "confirm the choice."
    )
    assert found.composite.high < 0


def test_further_prompts_are_named_as_unseen():
    rows = first_of(0.3)
    both = {step: [*samples, *again({100: 0.3}, unseen=True)[step]] for step, samples in again({100: 0.3}).items()}
    found = confirm(rank(rows), rows, both)
    assert found is not None
    assert (found.num_prompts, found.num_unseen, found.num_pictures) == (16, 8, 32)
    assert "with 2 new seeds on the same 8 prompts and on 8 unseen prompts. Both evaluations count." in found.reason
    older = confirm(rank(rows), rows, again({100: 0.3}, unseen=True))
    assert older is not None
    assert "Step 100 was evaluated again on 8 unseen prompts." in older.reason


def test_both_evaluations_count_each_picture_alike():
    rows = first_of(0.1, 0.3)
    found = confirm(rank(rows), rows, again({100: 0.1, 200: 0.2}))
    assert found is not None
    assert found.composite is not None
    deltas = [summary.composite for summary in rank(rows).summaries]
    unit = mean(deltas[2]) / -0.3
    assert found.composite.delta == pytest.approx(-0.25 * unit, rel=0.1)


def test_a_second_evaluation_overrules_luck_and_not_the_other_way_round():
    rows = first_of(0.1, 0.2, 0.25)
    found = confirm(rank(rows), rows, again({100: 0.1, 200: 0.3, 300: 0.1}))
    assert found is not None
    assert (found.step, found.agrees) == (200, False)
    assert re.search(
        r"Both evaluations together choose step 200 \(composite -1\.\d\d\), not step 300 \(-1\.\d\d\)\.", found.reason
    )
    told = rank(rows).selection_of(found.step).reason
    assert told.startswith(
        "The final chose step 200 over step 300, which had the best composite of 3 snapshots before it."
    )
    rows = first_of(0.1, 0.2, 0.4)
    kept = confirm(rank(rows), rows, again({100: 0.1, 200: 0.24, 300: 0.2}))
    assert kept is not None
    assert kept.step == 300, "a little bad luck does not undo a clear first evaluation"


def test_a_run_that_gains_to_its_last_step_is_not_cut_short_by_a_little_bad_luck():
    rows = first_of(*[0.03 * n for n in range(1, 13)], noise=0.05)
    assert finalists(rank(rows)) == (1000, 1100, 1200)
    second = again({1000: 0.3, 1100: 0.33 + 0.05, 1200: 0.36 - 0.03}, noise=0.05)
    found = confirm(rank(rows), rows, second)
    assert found is not None
    assert found.step == 1200
    alone = rank({step: [*rows[step], *second[step]] for step in second})
    assert min(alone.candidates, key=_composite).step == 1100, "what three snapshots alone would say"


def test_the_interval_is_as_wide_as_a_choice_among_all_needs():
    few, many = first_of(0.1, 0.2, 0.3), first_of(*[0.0] * 17, 0.1, 0.2, 0.3)
    widths = []
    for rows in (few, many):
        ranking = rank(rows)
        found = confirm(ranking, rows, again(dict.fromkeys(finalists(ranking), 0.3)))
        assert found is not None
        assert found.composite is not None
        widths.append(found.composite.high - found.composite.low)
    assert widths[0] < widths[1]


def test_a_finalist_whose_further_pictures_show_a_sign_is_passed_over():
    def varied(rows: Rows, by_heart: int | None = None) -> Rows:
        distances = {step: 0.0001 if step == by_heart else 0.2 for step in rows}
        return {
            step: [
                sample.model_copy(update={"metrics": {**sample.metrics, "seed_distance": distances[step]}})
                for sample in samples
            ]
            for step, samples in rows.items()
        }

    rows = varied(first_of(0.1, 0.2, 0.3))
    for sample in rows[300][::2]:
        sample.metrics["seed_distance"] = 0.0001
    assert finalists(rank(rows)) == (100, 200, 300)
    found = confirm(rank(rows), rows, varied(again({100: 0.1, 200: 0.2, 300: 0.3}), by_heart=300))
    assert found is not None
    assert found.step == 200
    assert "Step 300 shows a sign of overfitting (diversity) and was passed over." in found.reason


def test_snapshots_as_good_as_the_best_that_the_final_does_not_take_are_named():
    rows = first_of(*[0.2] * 5)
    steps = finalists(rank(rows))
    found = confirm(rank(rows), rows, again(dict.fromkeys(steps, 0.2)))
    assert found
    others = ", ".join(str(step) for step in range(100, 600, 100) if step not in steps)
    assert f"Steps {others}, which cannot be told from the best either, were not evaluated again: the final takes" in (
        found.reason
    )


def test_a_choice_whose_pictures_of_the_final_show_a_sign_is_flagged():
    rows = {
        step: [sample.model_copy(update={"metrics": {**sample.metrics, "seed_distance": 0.2}}) for sample in samples]
        for step, samples in first_of(0.1, 0.3).items()
    }
    second = {
        step: [
            sample.model_copy(update={"metrics": {**sample.metrics, "seed_distance": 0.2 if step == 0 else -0.1}})
            for sample in samples
        ]
        for step, samples in again({100: 0.1, 200: 0.3}).items()
    }
    found = confirm(rank(rows), rows, second)
    assert found
    assert found.flagged
    assert not confirm(
        rank(rows), rows, {step: [*rows[step], *again({100: 0.1, 200: 0.3})[step]] for step in rows}
    ).flagged  # type: ignore[union-attr]


def test_there_is_no_confirmation_before_all_finalists_and_step_0_are_evaluated():
    rows = first_of(0.1, 0.2)
    second = again({100: 0.1, 200: 0.2})
    assert confirm(rank(rows), rows, {step: second[step] for step in (0, 200)}) is None
    assert confirm(rank(rows), rows, {step: second[step] for step in (100, 200)}) is None
    assert confirm(rank(rows), rows, second) is not None


def test_the_same_pictures_again_confirm_nothing():
    rows = first_of(0.1, 0.2)
    assert confirm(rank(rows), rows, rows) is None


def test_other_numbers_stay_on_the_scale_of_the_run():
    rows = first_of(0.3)
    found = confirm(rank(rows), rows, again({100: 0.3}, spread=0.4))
    assert found is not None
    assert found.composite is not None
    assert found.composite.delta == pytest.approx(_composite(rank(rows).summaries[1]), rel=0.1)


def _composite(summary: Summary) -> float:
    return mean(summary.composite)
