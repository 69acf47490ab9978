"""A metric that needs votes counts only once they surely agree with it."""

from __future__ import annotations

import pytest

from evaluator.replay import replay
from evaluator.results_table import publish_descriptions
from shared.run_folder.metric_descriptions import Column, MetricDescription, MetricDescriptions
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import RunDir
from tests.conftest import RunMaker
from tests.unit.evaluator.test_results_table import LOSSES, result_of
from tests.unit.evaluator.test_votes import PROMPTS, vote

STEPS = (0, 20, 40)


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    """The losses prefer step 40, the judge step 20."""
    run = make_paper_run(evaluation={"confirm_prompts": 0})
    judge = Column(
        name="judge", label="model judge", meaning="", direction="higher", role="loss", weight=9, needs_votes=True
    )
    described = (*OLDER_METRICS.metrics, MetricDescription(name="judge", columns=(judge,)))
    publish_descriptions(run, MetricDescriptions(metrics=described))
    for step, gain, judged in ((0, 0.0, 0.5), (20, 0.28, 0.9), (40, 0.3, 0.6)):
        result = result_of(step, *(0.5 + 0.02 * prompt - gain for prompt in range(PROMPTS)))
        samples = tuple(
            sample.model_copy(update={"metrics": {**sample.metrics, "judge": judged + 0.01 * number}})
            for number, sample in enumerate(result.samples)
        )
        run.evaluation(step).mkdir()
        result.model_copy(update={"samples": samples}).write(run.evaluation(step) / "result.json")
    return run


def found(run: RunDir) -> tuple[Best, dict[str, float]]:
    told = replay(run)
    assert told.best
    return told.best, told.weights


def test_without_votes_it_is_compared_and_does_not_count(run: RunDir) -> None:
    best, weights = found(run)
    assert best.step == 40
    assert set(weights) == set(LOSSES)
    assert best.not_counted == ("judge",)
    assert "judge" in best.deltas
    assert "Not counted: model judge. It counts once it surely agrees with at least 20 votes" in best.cautions[-1]


def test_it_counts_once_votes_surely_agree_with_it(run: RunDir) -> None:
    vote(run, 20, 0, times=19)
    best, weights = found(run)
    assert "by now it preferred the same picture in 19 of 19." in best.cautions[-1]
    assert "judge" not in weights
    vote(run, 20, 0, times=1, voter="bo")
    best, weights = found(run)
    assert weights["judge"] == pytest.approx(0.9)
    assert best.not_counted == ()
    assert best.step == 20
    assert "model judge counts, because it preferred the same picture in 20 of 20 votes" in " ".join(best.cautions)


def test_it_does_not_count_where_votes_contradict_it(run: RunDir) -> None:
    vote(run, 0, 20, times=15)
    vote(run, 20, 0, times=15, voter="bo")
    best, weights = found(run)
    assert "judge" not in weights
    assert best.votes
    (judge,) = [one for one in best.votes.agreement if one.column == "judge"]
    assert (judge.agreed, judge.num_votes, judge.is_above_chance) == (15, 30, False)
