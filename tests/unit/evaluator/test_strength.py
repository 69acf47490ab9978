"""At which strength to use the snapshot to ship, and whether its subject survives at a lower one."""

import pytest

from evaluator.results_table import ResultsTable
from evaluator.selection.ending.strength import weigh
from shared.config.schema import EvaluationConfig
from shared.run_folder import pending
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.pending import Work, unfinished
from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.records.strength import Strength
from shared.run_folder.run_dir import RunDir, strength_kind, strengths_in
from shared.statistics.composite import scales_of
from tests.conftest import RunMaker
from tests.unit.evaluator.test_ranking import evaluation
from tests.unit.evaluator.test_results_table import add, result_of


def weighed(baseline: list[Sample], drawn: dict[float, list[Sample]]) -> Strength | None:
    return weigh(baseline, drawn, OLDER_METRICS, scales_of(baseline, OLDER_METRICS))


def of(gains: dict[float, float], **changes: float) -> Strength:
    """Drawn at these strengths, with these gains over the base model."""
    drawn = {one: evaluation(gain, seed=round(100 * one), **changes) for one, gain in gains.items()}
    found = weighed(evaluation(**changes), drawn)
    assert found
    return found


def test_full_strength_is_recommended_unless_another_is_shown_to_be_better():
    found = of({0.4: 0.05, 0.8: 0.2, 1.0: 0.2, 1.2: 0.1})
    assert found.recommended == 1.0
    assert "Recommended strength: 1; of 0.4, 0.8, 1.2, none is shown to be better, and surely worse: 0.4, 1.2." in (
        found.reason
    )
    behind = {point.strength: point.behind_full for point in found.drawn}
    assert list(behind) == [0.4, 0.8, 1.0, 1.2]
    assert behind[1.0] is None
    assert behind[0.4]
    assert behind[0.4].low > 0


def test_a_strength_that_is_surely_better_is_recommended_with_its_interval():
    found = of({0.4: 0.1, 0.6: 0.3, 0.8: 0.2, 1.0: 0.1})
    assert found.recommended == 0.6
    assert "Recommended strength: 0.6, where the composite is better by" in found.reason
    at = next(point for point in found.drawn if point.strength == 0.6)
    assert at.behind_full
    assert at.behind_full.high < 0


def test_a_difference_that_may_be_chance_changes_nothing():
    found = of({0.8: 0.21, 1.0: 0.2, 1.2: 0.2}, noise=0.2)
    assert found.recommended == 1.0
    assert found.reason.startswith("Recommended strength: 1; of 0.8, 1.2, none is shown to be better.")


def test_where_full_strength_ignores_its_prompts_a_lower_one_that_follows_them_is_recommended():
    baseline = evaluation()
    drawn = {0.6: evaluation(0.2, 1), 0.8: evaluation(0.25, 2), 1.0: evaluation(0.4, 3, overrides={"clip_t": 0.1})}
    found = weighed(baseline, drawn)
    assert found
    assert found.recommended == 0.8
    assert found.reason.startswith(
        "Recommended strength: 0.8, because at strength 1 it follows its prompts less than the base model does."
    )


def test_the_subject_survives_where_half_of_the_gain_is_left_halfway_between_the_strengths_drawn():
    found = of({0.6: 0.12, 0.8: 0.18, 1.0: 0.2}, noise=0.001)
    assert found.survives
    assert found.kept == pytest.approx((0.12 + 0.18) / 2 / 0.2, abs=0.02)
    assert found.reason.endswith("At strength 0.7 the subject survives: 75% of the gain over the base model is left.")


def test_the_subject_does_not_survive_where_less_is_left_or_nothing_sure():
    found = of({0.6: 0.02, 0.8: 0.1, 1.0: 0.3}, noise=0.001)
    assert found.survives is False
    assert "the subject does not survive: only 20% of the gain" in found.reason


def test_nothing_is_said_of_surviving_without_strengths_on_both_sides_or_a_gain_to_lose():
    assert of({0.8: 0.2, 1.0: 0.2}).survives is None
    assert of({0.6: 0.0, 0.8: 0.0, 1.0: 0.0}).kept is None


def test_a_strength_drawn_at_exactly_the_lower_one_is_not_read_between_others():
    found = of({0.4: 0.0, 0.7: 0.15, 1.0: 0.2}, noise=0.001)
    assert found.kept == pytest.approx(0.75, abs=0.02)


def test_with_full_strength_alone_there_is_nothing_to_weigh():
    assert weighed(evaluation(), {1.0: evaluation(0.2)}) is None


def test_strengths_are_drawn_in_hundredths_each_once_and_never_1():
    assert EvaluationConfig.model_validate({"strengths": [1.2, 0.8, 1, 0.8001]}).strengths == (0.8, 1.2)


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    """Two snapshots, evaluated, of a run without a final."""
    run = make_paper_run(evaluation={"strengths": [0.6, 0.8]})
    add(run, 0, 0.50, 0.70, 0.60, 0.55)
    add(run, 20, 0.30, 0.51, 0.40, 0.34)
    add(run, 40, 0.20, 0.42, 0.30, 0.24)
    ResultsTable(run).rebuild()
    return run


def draw(run: RunDir, strength: float, step: int, *losses: float) -> None:
    folder = run.result(strength_kind(strength), step)
    folder.mkdir(parents=True)
    result_of(step, *losses).write(folder / "result.json")


def test_the_snapshot_to_ship_is_drawn_at_each_strength_when_nothing_else_waits(run: RunDir) -> None:
    settings = run.read_config().evaluation
    works = [Work(40, "strengths/0.60"), Work(40, "strengths/0.80")]
    assert unfinished(run, settings, trainer_lives=True) == []
    assert unfinished(run, settings, trainer_lives=False) == works == pending.left_to_evaluate(run)
    draw(run, 0.6, 40, 0.25, 0.47, 0.35, 0.29)
    assert unfinished(run, settings, trainer_lives=False) == works[1:]
    assert strengths_in(run) == [0.6]


def test_the_verdict_names_the_strength_once_all_are_drawn(run: RunDir) -> None:
    draw(run, 0.6, 40, 0.25, 0.47, 0.35, 0.29)
    ResultsTable(run).rebuild()
    before = run.read_best()
    assert before
    assert before.strength is None
    draw(run, 0.8, 40, 0.22, 0.44, 0.32, 0.26)
    ResultsTable(run).rebuild()
    best = run.read_best()
    assert best
    assert best.strength
    assert (best.strength.recommended, best.strength.survives) == (1.0, True)
    assert best.reason == f"{before.reason} {best.strength.reason}"
    assert best.reason_phrases[-2:] == best.strength.reason_phrases


def test_another_snapshot_s_strengths_say_nothing(run: RunDir) -> None:
    for strength in (0.6, 0.8):
        draw(run, strength, 20, 0.25, 0.47, 0.35, 0.29)
    ResultsTable(run).rebuild()
    best = run.read_best()
    assert best
    assert best.strength is None
    assert [work.step for work in pending.left_to_evaluate(run)] == [40, 40]
