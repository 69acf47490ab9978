from dataclasses import replace

import numpy as np
import pytest

from evaluator.selection.ranking import Ranking
from evaluator.selection.stop_rule import advise_stop
from shared.config.schema import StopConfig
from shared.run_folder.records.best import Advice
from shared.run_folder.records.evaluation_result import Sample
from tests.unit.evaluator.test_ranking import evaluation, rank, run_of

RISING = [0.02 * number for number in range(1, 11)]
PLATEAU = [0.1, 0.2] + [0.25] * 8


def advice(ranking: Ranking, num_steps: int, **stop: object) -> Advice:
    return advise_stop(ranking, StopConfig.model_validate({"min_snapshots": 3, **stop}), num_steps)


def test_a_run_that_gains_to_the_last_step_is_not_stopped():
    found = advice(run_of(*RISING), 2000)
    assert found.action == "continue"
    assert found.can_bring == pytest.approx(0.2 / 0.125, rel=0.2), "as much again, in quarters of the mean at step 0"


def test_a_lack_of_power_is_no_lack_of_progress():
    noisy = run_of(*[0.01 * number for number in range(1, 11)], noise=0.2)
    assert not any(found.is_below_zero for found in map(noisy.composite_of, noisy.candidates[:3]) if found)
    assert advice(noisy, 2000).action == "continue"


def test_a_plateau_is_stopped_with_the_numbers():
    found = advice(run_of(*PLATEAU), 1200)
    assert found.action == "advise"
    assert "the remaining 200 steps will hardly improve the composite by 0.1" in found.reason
    assert "the trend of the last 5 snapshots" in found.reason
    assert found.can_bring is not None
    assert 0 <= found.can_bring < 0.1
    assert f"would improve it by {found.can_bring:.2f} at most" in found.reason


def test_a_decline_is_named():
    found = advice(run_of(0.1, 0.3, 0.28, 0.26, 0.24, 0.22, 0.2, 0.18), 1000)
    assert found.action == "advise"
    assert "would worsen it by 0.27 at least" in found.reason


def test_auto_stops_and_off_says_nothing():
    assert advice(run_of(*PLATEAU), 1200, rule="auto").action == "stop"
    assert advice(run_of(*PLATEAU), 1200, rule="off") == Advice(action="continue")


def test_nothing_is_said_in_the_first_half_after_the_last_step_or_of_few_snapshots():
    assert advice(run_of(*PLATEAU), 2001) == Advice(action="continue")
    assert advice(run_of(*PLATEAU, noise=0), 2000).action == "advise"
    assert advice(run_of(*PLATEAU), 1000) == Advice(action="continue")
    assert advice(run_of(*PLATEAU), 1200, min_snapshots=11) == Advice(action="continue")
    assert advice(run_of(*PLATEAU), 1200, patience=11) == Advice(action="continue")


def test_what_matters_is_a_setting():
    rows = {0: evaluation()} | {100 * n: evaluation(gain, seed=n) for n, gain in enumerate(RISING, 1)}
    assert advice(rank(rows), 1200).action == "continue"
    assert advice(rank(rows, min_difference=1.0), 1200).action == "advise"


def learnt_by_heart(gain: float, seed: int) -> list[Sample]:
    """Pictures of one prompt are one picture."""
    return evaluation(gain, seed, overrides={"seed_distance": 0.001})


def test_signs_of_overfitting_in_a_row_are_a_reason_of_their_own():
    rows = {0: evaluation(overrides={"seed_distance": 0.2})}
    rows |= {step: evaluation(step / 1000, step, overrides={"seed_distance": 0.2}) for step in (100, 200)}
    rows |= {step: learnt_by_heart(step / 1000, step) for step in (300, 400, 500)}
    found = advice(rank(rows), 5000)
    assert found.action == "advise"
    assert "the newest 3 snapshots show signs of overfitting; diversity: pictures of one prompt differ" in found.reason
    assert advice(rank(rows), 500).action == "continue", "nothing is left to stop"
    rows[600] = evaluation(0.6, 600, overrides={"seed_distance": 0.2})
    assert advice(rank(rows), 5000).action == "continue"


def ends(*gains: float, seed: int) -> float:
    """Share of the planned steps at which a run with errors that stay with a prompt is stopped."""
    rng, count = np.random.default_rng(seed), len(gains)
    rows = {0: evaluation()}
    for number, gain in enumerate(gains, 1):
        rows[100 * number] = evaluation(gain, seed=int(rng.integers(1 << 30)), noise=0.03)
    whole = rank(rows)
    known = (replace(whole, summaries=whole.summaries[: number + 1]) for number in range(1, count))
    stops = (number for number, ranking in enumerate(known, 1) if advice(ranking, 100 * count).action == "advise")
    return next(stops, count) / count


def test_a_straight_line_is_hardly_cut_short_and_a_plateau_ends_before_three_quarters():
    line = [0.25 * number / 20 for number in range(1, 21)]
    plateau = [0.25 * min(1, number / 5) for number in range(1, 21)]
    assert np.mean([ends(*line, seed=seed) for seed in range(6)]) >= 0.92
    assert np.mean([ends(*plateau, seed=seed) for seed in range(6)]) < 0.75
