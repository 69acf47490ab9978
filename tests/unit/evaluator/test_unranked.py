"""Where nothing measures the subject, no metric names a snapshot; votes alone do."""

from __future__ import annotations

import pytest

from evaluator.replay import main, replay
from evaluator.results_table import ResultsTable
from shared.run_folder import pending
from shared.run_folder.records.best import Best
from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.records.record import Record
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows
from tests.conftest import RunMaker
from tests.unit.evaluator.test_results_table import add
from tests.unit.evaluator.test_votes import PROMPTS, vote

STEPS = (20, 40, 60)


def drawn(step: int, clip_t: float = 0.3) -> tuple[Sample, ...]:
    """Pictures of which only it is known how well they follow their prompts."""
    metrics = {"clip_t": clip_t, "clip_t_shuffled": 0.1}
    return tuple(
        Sample(
            prompt_id=f"p{number}",
            prompt=f"dress {number}",
            has_reference=False,
            seed=1,
            image=f"{number}.png",
            batch=0,
            metrics={name: value + 0.001 * ((step + number) % 3) for name, value in metrics.items()},
        )
        for number in range(PROMPTS)
    )


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    """Three snapshots, drawn from prompts."""
    run = make_paper_run(evaluation={"confirm_prompts": 4, "averages": 1, "strengths": [0.6]})
    for step in (0, *STEPS):
        (run.snapshots / f"step-{step:08d}").mkdir()
        add(run, step, samples=drawn(step))
    return run


def verdict(run: RunDir) -> Best:
    best = replay(run).best
    assert best
    return best


def test_the_last_snapshot_is_named_and_nothing_is_said_of_its_quality(run: RunDir) -> None:
    best = verdict(run)
    assert (best.step, best.ranked, best.is_chosen, best.better_than_base, best.composite) == (
        60, False, False, False, None,
    )  # fmt: skip
    assert best.reason.startswith(
        "No metric ranks the snapshots, and nobody has voted. Step 60 is named because it is the last of 3 that may be "
        "shipped; nothing shows that it is the best. Vote on the dashboard's page Vote: the votes alone choose then."
    )
    assert "better than" not in best.reason
    assert best.contest
    assert (best.contest.steps, set(best.contest.means)) == ((0, *STEPS), {0.0})


def test_no_cell_holds_a_number_that_nothing_measured(run: RunDir) -> None:
    ResultsTable(run).rebuild()
    for row in read_rows(run.metrics_csv):
        assert (row["composite"], row["visual_loss"]) == ("", "")


def test_it_is_drawn_at_other_strengths_but_nothing_is_averaged_or_drawn_again(run: RunDir) -> None:
    ResultsTable(run).rebuild()
    assert not pending.without_average(run)
    assert not pending.unconfirmed(run)
    assert [(work.step, work.kind) for work in pending.at_other_strengths(run)] == [(60, "strengths/0.60")]


def test_a_strength_is_recommended_by_no_metric(run: RunDir) -> None:
    folder = run.path / "strengths/0.60/step-00000060"
    folder.mkdir(parents=True)
    result = run.read_result(60)
    assert isinstance(result, Record)
    result.write(folder / "result.json")
    found = verdict(run).strength
    assert found
    assert (found.recommended, found.kept, found.survives) == (1.0, None, None)
    assert found.reason == "No metric ranks the strengths 0.6: look at their pictures beside those of strength 1."


def test_votes_alone_choose_from_the_first_on(run: RunDir) -> None:
    vote(run, 40, 60, times=1)
    best = verdict(run)
    assert (best.step, best.is_chosen, best.better_than_base) == (40, True, False)
    assert best.reason.startswith(
        "By 1 vote alone, step 40 is the best of the 3 snapshots compared that may be shipped, with a"
    )
    assert "By the votes it is not shown to be better than the base model." in best.reason


def test_many_votes_say_that_it_is_better_than_the_base_model(run: RunDir) -> None:
    for other in (0, 20, 60):
        vote(run, 40, other, times=PROMPTS)
    best = verdict(run)
    assert (best.step, best.better_than_base) == (40, True)
    assert best.votes
    assert (best.votes.alone, best.votes.favourite) == (True, 40)
    assert "By the votes it is better than the base model." in best.reason
    assert [one.column for one in best.votes.agreement] == ["clip_t"]


def test_what_fails_a_guard_is_passed_over_however_many_prefer_it(run: RunDir) -> None:
    result = run.read_result(60)
    assert result
    result.model_copy(update={"samples": drawn(60, clip_t=0.0)}).write(run.evaluation(60) / "result.json")
    assert verdict(run).step == 40
    vote(run, 60, 40, times=PROMPTS)
    vote(run, 60, 20, times=PROMPTS)
    best = verdict(run)
    assert best.step != 60
    assert "Passed over: step 60" in best.reason


def test_of_many_snapshots_eight_are_compared_from_the_first_to_the_last(run: RunDir) -> None:
    for step in range(80, 400, 20):
        add(run, step, samples=drawn(step))
    best = verdict(run)
    contest = best.contest
    assert contest
    assert (len(contest.steps), contest.steps[:2], contest.steps[-1], contest.left_out) == (9, (0, 20), 380, 11)
    assert best.cautions[0].startswith("Votes compare 8 snapshots, evenly spread over the training. 11 others may be")


def test_the_command_has_no_verdict_until_somebody_votes(
    run: RunDir, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.argv", ["verdict", str(run.path)])
    assert main() == 3
    told = capsys.readouterr().out
    assert "the last that may be shipped; nothing ranks it" in told
    assert "not shown" not in told
    vote(run, 40, 60, times=3)
    assert main() == 0
    told = capsys.readouterr().out
    assert "preferred by votes, not shown to be better than step 0" in told
    assert "Strength over step 0, by the votes alone:" in told
