"""A trial is pruned only if it is surely worse."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from shared.run_folder.run_dir import RunDir
from shared.sweeps.pruning import surely_worse
from shared.sweeps.results import Results
from shared.sweeps.yardstick import Yardstick
from tests.unit.shared.sweeps.stand_in import NUM_PROMPTS, base_loss, write_best, write_result, write_run


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda file: None)


def results(folder: Path, *, better: dict[int, float], noise: float = 0.02, seed: int = 0) -> Results:
    """better: step → by how much the loss is below the base model's, on average."""
    run, dice = RunDir(folder), random.Random(seed)
    write_run(run)
    for step, gain in {0: 0.0, **better}.items():
        off = {prompt: dice.gauss(0, noise) if step else 0.0 for prompt in range(NUM_PROMPTS)}
        write_result(run, step, {prompt: base_loss(prompt) - gain + off[prompt] for prompt in range(NUM_PROMPTS)})
    write_best(run, max(better, default=0))
    found = Results(run)
    found.refresh()
    return found


def judged(trial: Results, *rivals: Results, min_snapshots: int = 2):
    yardstick = Yardstick.of(trial)
    assert yardstick
    return surely_worse(trial, dict(enumerate(rivals)), yardstick, min_snapshots)


def test_what_is_surely_worse_at_the_same_step_is_pruned_and_says_by_how_much(tmp_path: Path) -> None:
    trial = results(tmp_path / "a", better={10: 0.0, 20: 0.1})
    rival = results(tmp_path / "b", better={10: 0.2, 20: 0.4, 30: 0.9}, seed=1)
    found = judged(trial, rival)
    assert found
    assert (found.rival, found.step) == (0, 20)
    assert found.worse.mean == pytest.approx(0.3 / 0.3375, abs=0.15)
    assert str(found).startswith("at step 20 its best snapshot is surely worse than that of trial 0: composite +0.")


def test_a_rival_counts_only_as_far_as_the_trial_has_come(tmp_path: Path) -> None:
    trial = results(tmp_path / "a", better={10: 0.1, 20: 0.2})
    later = results(tmp_path / "b", better={10: 0.1, 20: 0.2, 30: 5.0}, seed=1)
    behind = results(tmp_path / "c", better={10: 5.0}, seed=2)
    assert judged(trial, later, behind) is None


def test_a_worse_mean_with_prompts_that_disagree_goes_on(tmp_path: Path) -> None:
    trial = results(tmp_path / "a", better={10: 0.0, 20: 0.1}, noise=0.5)
    rival = results(tmp_path / "b", better={10: 0.2, 20: 0.4}, noise=0.5, seed=1)
    assert judged(trial, rival) is None


def test_nothing_is_pruned_before_enough_snapshots_or_beside_nobody(tmp_path: Path) -> None:
    trial = results(tmp_path / "a", better={10: 0.0})
    rival = results(tmp_path / "b", better={10: 0.4}, seed=1)
    assert judged(trial, rival) is None
    assert judged(trial, rival, min_snapshots=1)
    assert judged(trial, min_snapshots=1) is None


def test_equal_trials_are_rarely_pruned_however_often_they_are_looked_at(tmp_path: Path) -> None:
    """The error of all looks and rivals together stays below that of a verdict."""
    pruned = 0
    for number in range(40):
        trials = [results(tmp_path / f"{number}-{one}", better={}, seed=number * 10 + one) for one in range(3)]
        dice, is_pruned = random.Random(1000 + number), False
        for step in (10, 20, 30, 40):
            for trial in trials:
                write_result(
                    trial.run, step, {one: base_loss(one) - 0.2 + dice.gauss(0, 0.1) for one in range(NUM_PROMPTS)}
                )
                write_best(trial.run, step)
                trial.refresh()
            is_pruned = is_pruned or judged(trials[0], *trials[1:], min_snapshots=1) is not None
        pruned += is_pruned
    assert pruned <= 4, "of 40: 2 are expected at most"


def test_what_was_drawn_otherwise_is_no_rival(tmp_path: Path) -> None:
    trial = results(tmp_path / "a", better={10: 0.0, 20: 0.1})
    rival = results(tmp_path / "b", better={10: 0.2, 20: 0.4}, seed=1)
    for step in (10, 20):
        path = rival.run.evaluation(step) / "result.json"
        path.write_text(path.read_text(encoding="utf-8").replace("prompt 1", "another prompt"), encoding="utf-8")
    again = Results(rival.run)
    again.refresh()
    found = judged(trial, again)
    assert found
    assert found.worse.num_prompts == NUM_PROMPTS - 1
