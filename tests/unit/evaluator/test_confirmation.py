from functools import partial

from evaluator.selection.confirmation import confirm as confirm_by
from evaluator.selection.confirmation import finalists
from shared.run_folder.older_metrics import OLDER_METRICS
from tests.unit.evaluator.test_ranking import evaluation, rank, run_of

confirm = partial(confirm_by, metrics=OLDER_METRICS)


def test_the_chosen_one_and_the_two_best_others_are_finalists():
    assert finalists(run_of(0.05, 0.2, 0.1, 0.3, 0.25)) == (200, 400, 500)


def test_a_snapshot_that_ignores_its_prompts_is_no_finalist():
    rows = {0: evaluation(), 100: evaluation(0.1, 1), 200: evaluation(0.3, 2, overrides={"clip_t": 0.1})}
    assert finalists(rank(rows)) == (100,)


def test_no_snapshot_no_final():
    assert finalists(rank({0: evaluation()})) == ()


def test_other_prompts_confirm_what_holds_on_them_too():
    first = run_of(0.05, 0.1, 0.3).best
    assert first is not None
    again = {0: evaluation(seed=90), **{100 * n: evaluation(0.1 * n, seed=90 + n) for n in (1, 2, 3)}}
    found = confirm(first, (100, 200, 300), again)
    assert found is not None
    assert (found.step, found.agrees, found.better_than_base) == (300, True, True)
    assert (found.num_prompts, found.num_pictures) == (8, 16)
    assert "8 other prompts, 16 pictures each, which confirms the choice" in found.reason


def test_other_prompts_overrule_luck():
    first = run_of(0.1, 0.2, 0.3).best
    assert first is not None
    gains = {100: 0.1, 200: 0.3, 300: 0.1}
    again = {0: evaluation(seed=90), **{step: evaluation(gain, seed=step) for step, gain in gains.items()}}
    found = confirm(first, (100, 200, 300), again)
    assert found is not None
    assert (found.step, found.agrees) == (200, False)
    assert "which chose 200, not 300" in found.reason


def test_there_is_no_confirmation_before_all_finalists_and_step_0_are_evaluated():
    first = run_of(0.1, 0.2).best
    assert first is not None
    assert confirm(first, (100, 200), {0: evaluation(), 200: evaluation(0.2, 2)}) is None
    assert confirm(first, (100, 200), {100: evaluation(0.1, 1), 200: evaluation(0.2, 2)}) is None
