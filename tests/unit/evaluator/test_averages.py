"""Averages of neighbouring snapshots: which are made, how they are compared, and that they are no further steps."""

from pathlib import Path

import numpy as np
import pytest

from evaluator.results_table import ResultsTable
from evaluator.selection.choice import listed
from evaluator.selection.ending.averages import shrunk, windows
from evaluator.selection.ending.confirmation import finalists
from evaluator.selection.ranking import Ranking
from evaluator.selection.stop_rule import advise_stop
from shared.config.schema import StopConfig
from shared.run_folder import pending, tables
from shared.run_folder.averages import averaged, ends, file_stem, is_average, label, parse, trained_to
from shared.run_folder.pending import Work, unfinished
from shared.run_folder.phrase import phrase
from shared.run_folder.run_dir import RunDir
from tests.conftest import RunMaker
from tests.unit.evaluator.test_ranking import evaluation, rank
from tests.unit.evaluator.test_results_table import add

STEPS = (100, 200, 300, 400, 500)


def number(first: int, last: int) -> int:
    found = averaged(first, last)
    assert found
    return found


def test_the_number_of_an_average_says_what_it_is_and_sorts_behind_every_step() -> None:
    both = number(750, 900)
    assert both == 100007500000900
    assert (ends(both), ends(900), is_average(both), is_average(900)) == ((750, 900), None, True, False)
    assert (label(both), label(900), trained_to(both), trained_to(900)) == ("750–900", "900", 900, 900)
    assert (parse("750-900"), parse("750–900"), parse("900"), parse("best"), parse("9-7")) == (
        both,
        both,
        900,
        None,
        None,
    )
    assert both > 10**8
    assert both < 2**53, "exact in JavaScript"
    assert (file_stem(both), averaged(5, 10**7)) == ("000750-000900-average", None)
    assert str(phrase("step {step}", step=both)) == "step 750–900"


def test_the_best_is_averaged_with_its_neighbours_then_with_more_of_them() -> None:
    assert windows(STEPS, STEPS, 300, 2) == (number(200, 400), number(100, 500))
    assert windows(STEPS, STEPS, 300, 9) == (number(200, 400), number(100, 500)), "there are no more"
    assert windows(STEPS, STEPS, 500, 2) == (number(400, 500), number(300, 500)), "at the end of the run"
    assert windows(STEPS, (100, 200, 300, 500), 300, 1) == (number(200, 300),), "400 may not be shipped"
    assert windows(STEPS, (300,), 300, 1) == windows((300,), (300,), 300, 1) == windows(STEPS, STEPS, 300, 0) == ()


def of(gains: dict[int, float], noise: float = 0.01) -> Ranking:
    rows = {step: evaluation(gain, seed=step % 1000, noise=noise) for step, gain in gains.items()}
    return rank({0: evaluation(noise=noise), **rows})


RISE = dict(zip(STEPS, (0.1, 0.18, 0.25, 0.24, 0.22), strict=True))


def test_an_average_that_is_surely_better_than_its_snapshots_wins() -> None:
    best = of({**RISE, number(200, 400): 0.4}).best
    assert best
    assert best.step == number(200, 400)
    assert best.reason.startswith("Step 200–400 has the best smoothed composite of 5 snapshots and 1 average.")


def test_an_average_as_good_as_its_snapshots_counts_as_they_do_and_loses_to_the_best_of_them() -> None:
    found = of({**RISE, number(100, 500): 0.2})
    assert found.best
    assert found.best.step == 300
    sources = np.mean([found.trend.level(step) for step in STEPS])
    assert found.trend.level(number(100, 500)) == pytest.approx(sources, abs=0.03)


def test_what_an_average_is_better_by_is_shrunk_by_the_luck_of_the_prompts() -> None:
    sources_SP, smoothed_SP = np.zeros((2, 4)), np.full((2, 4), -1.0)
    sure = shrunk(np.full(4, -0.5), sources_SP, smoothed_SP)
    assert sure == pytest.approx(np.full(4, -1.5)), "all prompts agree"
    lucky = shrunk(np.array([-0.9, 0.8, -0.8, 0.5]), sources_SP, smoothed_SP)
    assert lucky == pytest.approx(np.full(4, -1.0)), "no more than chance"
    between = shrunk(np.array([-0.9, 0.1, -0.8, -0.4]), sources_SP, smoothed_SP).mean()
    assert -1.5 < between < -1.0


def test_the_trend_and_the_stop_rule_take_no_average_for_a_further_step() -> None:
    alone, beside = of(RISE), of({**RISE, number(200, 400): 0.4})
    assert [alone.trend.level(step) for step in STEPS] == [beside.trend.level(step) for step in STEPS]
    assert [summary.step for summary in beside.snapshots] == list(STEPS)
    stop = StopConfig(min_snapshots=5)
    assert advise_stop(beside, stop, 900) == advise_stop(alone, stop, 900)


def test_which_averages_are_made_does_not_depend_on_what_averages_have_shown() -> None:
    beside = of({**RISE, number(200, 400): 0.4})
    assert of(RISE).averages(1) == beside.averages(1) == (number(200, 400),)


def test_averages_are_named_as_such_among_steps() -> None:
    assert listed([4, 900]) == "4, 900"
    assert str(listed([4, 900, number(4, 300)])) == "4, 900 and the average of 4 to 300"
    assert str(listed([4, number(4, 300), number(4, 900)])) == "4 and the averages of 4 to 300, 4 to 900"
    three = of({100: 0.1, 200: 0.3, 300: 0.1, number(100, 300): 0.15}).best
    assert three
    assert three.reason.startswith("Step 200 has the best composite of 3 snapshots and 1 average."), "not smoothed yet"


def test_an_average_may_be_a_finalist() -> None:
    assert number(200, 400) in finalists(of({**RISE, number(200, 400): 0.4}))


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    """Three evaluated snapshots of a run that has one average and no final."""
    run = make_paper_run(evaluation={"averages": 1})
    add(run, 0, 0.50, 0.70, 0.60, 0.55)
    add(run, 20, 0.30, 0.51, 0.40, 0.34)
    add(run, 40, 0.20, 0.42, 0.30, 0.24)
    add(run, 60, 0.21, 0.43, 0.31, 0.25)
    ResultsTable(run).rebuild()
    return run


def test_an_average_waits_until_training_is_over_and_has_a_table_of_its_own(run: RunDir) -> None:
    settings, both = run.read_config().evaluation, number(20, 60)
    best = run.read_best()
    assert best
    assert best.averages == (both,)
    assert unfinished(run, settings, trainer_lives=True) == []
    assert unfinished(run, settings, trainer_lives=False) == [Work(both)] == pending.left_to_evaluate(run)
    before = tables.listed(run.metrics_csv)
    add(run, both, 0.10, 0.31, 0.19, 0.14, training={"averaged": [20, 40, 60], "truncation": 0.034})
    table = ResultsTable(run)
    assert not table.is_current()
    assert unfinished(run, settings, trainer_lives=False) == []
    assert pending.left_to_evaluate(run) == [Work(both)], "it has no row yet"
    table.rebuild()
    assert table.is_current()
    assert pending.left_to_evaluate(run) == []
    assert (tables.listed(run.averages_csv), tables.listed(run.metrics_csv)) == ({both}, before)
    best = run.read_best()
    assert best
    assert (best.step, best.snapshot, best.latest_step) == (both, f"averages/step-{both}", 60)
    assert best.reason_phrases
    said = (
        "Step 20–60 is the average of the snapshots of steps 20, 40, 60; bringing it back to their rank changes it by"
    )
    assert f"{said} 3.4%." in best.reason


def test_a_failed_average_is_final_and_changes_nothing(run: RunDir) -> None:
    before = run.read_best()
    assert before
    add(run, number(20, 60), status="failed", reason="DoRAs have no average")
    ResultsTable(run).rebuild()
    after = run.read_best()
    assert after
    assert (after.step, after.reason) == (before.step, before.reason)
    assert pending.left_to_evaluate(run) == []


def test_a_run_of_an_older_version_has_no_averages(run: RunDir) -> None:
    text = run.config.read_text().replace("averages = 1\n", "")
    Path(run.config).write_text(text)
    ResultsTable(run).rebuild()
    best = run.read_best()
    assert best
    assert best.averages == ()
