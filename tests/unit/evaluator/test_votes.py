"""Votes in the verdict: they can move the choice, never to a snapshot that may not be shipped."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from evaluator.replay import main, replay, show
from evaluator.results_table import ResultsTable, publish_descriptions
from shared.errors import ConfigError
from shared.run_folder.metric_descriptions import Column, MetricDescription, MetricDescriptions, Sign
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.best import Best
from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.records.vote import Vote, VoteAnswer
from shared.run_folder.run_dir import RunDir
from shared.run_folder.votes import append_vote
from tests.conftest import ROOT, RunMaker, run_python
from tests.unit.evaluator.test_results_table import LOSSES, add

PROMPTS = 6


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    """Steps 20, 40 and 60, which the metrics hardly tell apart; they choose 40."""
    run = make_paper_run(evaluation={"confirm_prompts": 0})
    for step, gain in ((0, 0.0), (20, 0.30), (40, 0.33), (60, 0.31)):
        add(run, step, *(0.5 + 0.02 * prompt - gain + 0.01 * ((step + prompt) % 3) for prompt in range(PROMPTS)))
    return run


def vote(run: RunDir, better: int, worse: int, times: int, answer: VoteAnswer = "left", voter: str = "anna") -> None:
    for number in range(times):
        one = Vote(
            id=f"{voter}-{better}-{worse}-{answer}-{number}",
            run_id=run.read_record().run_id,
            voter=voter,
            prompt_id=f"p{number % PROMPTS}",
            seed=1,
            left=better,
            right=worse,
            answer=answer,
        )
        assert append_vote(run, one)


def verdict(run: RunDir) -> Best:
    best = replay(run).best
    assert best
    return best


def test_without_votes_the_contest_is_among_those_that_matter(run: RunDir) -> None:
    best = verdict(run)
    assert (best.step, best.votes) == (40, None)
    assert best.contest
    assert best.contest.steps == (0, 20, 40, 60)
    assert best.contest.means[0] == 0 < min(best.contest.means[1:])
    assert best.contest.covariance[0] == (0, 0, 0, 0)
    smoothed = {row.step: row.smoothed for row in replay(run).snapshots}
    assert best.contest.means[2] == pytest.approx(-(smoothed[40] or 0), abs=1e-6)


def test_votes_move_the_choice_and_the_reason_says_so(run: RunDir) -> None:
    vote(run, 60, 40, times=9)
    vote(run, 40, 60, times=1)
    best = verdict(run)
    assert best.votes
    assert (best.step, best.votes.moved, best.votes.before, best.votes.favourite) == (60, True, 40, 60)
    assert best.snapshot.endswith("step-00000060")
    assert best.reason.startswith(
        "9 of 10 votes preferred step 60 to step 40, which the metrics chose. By 10 votes in all and the metrics, step "
        "60 is the better one with a probability of 9"
    )
    (sixty,) = [one for one in best.votes.steps if one.step == 60]
    assert (sixty.won, sixty.lost, sixty.equal) == (9, 1, 0)
    assert sixty.low < sixty.strength < sixty.high
    assert sum(one.chance for one in best.votes.steps) == pytest.approx(1, abs=0.001)


def test_a_few_votes_are_told_and_do_not_move_it(run: RunDir) -> None:
    vote(run, 60, 40, times=3)
    vote(run, 60, 20, times=2, answer="equal")
    best = verdict(run)
    assert best.votes
    assert (best.step, best.votes.moved, best.votes.num_votes, best.votes.num_decided) == (40, False, 5, 3)
    assert "5 votes and the metrics together put step 60 before step 40 with a probability of" in best.reason
    assert "the choice changes from 90% on." in best.reason


def test_votes_that_agree_confirm_the_choice(run: RunDir) -> None:
    vote(run, 40, 60, times=4)
    vote(run, 40, 20, times=4, voter="bo")
    best = verdict(run)
    assert best.votes
    assert best.votes.voters == {"anna": 4, "bo": 4}
    assert (best.step, best.votes.moved) == (40, False)
    assert "8 votes and the metrics together name step 40 the best, with a probability of" in best.reason


def test_skipped_and_withdrawn_votes_say_nothing(run: RunDir) -> None:
    vote(run, 60, 40, times=9, answer="skipped")
    assert verdict(run).votes is None


def test_a_snapshot_that_may_not_be_shipped_is_never_chosen_by_votes(make_paper_run: RunMaker) -> None:
    run = make_paper_run(evaluation={"confirm_prompts": 0})
    sign = Sign(name="copying", limit=0, each=True, evidence="{value} are copies", unknown="not known")
    copied = Column(name="copied", meaning="", direction="lower", role="overfitting", sign=sign)
    described = (*OLDER_METRICS.metrics, MetricDescription(name="copied", columns=(copied,)))
    publish_descriptions(run, MetricDescriptions(metrics=described))
    for step, gain in ((0, 0.0), (20, 0.30), (40, 0.33)):
        losses = [0.5 + 0.02 * prompt - gain for prompt in range(PROMPTS)]
        samples = tuple(
            Sample(
                prompt_id=f"p{prompt}",
                prompt=f"a dress {prompt}",
                seed=1,
                image=f"{prompt}.png",
                metrics=dict.fromkeys(LOSSES, loss) | {"clip_t": 0.3, "copied": float(step == 40)},
            )
            for prompt, loss in enumerate(losses)
        )
        add(run, step, samples=samples)
    best = verdict(run)
    assert (best.step, list(best.passed_over)) == (20, [40])
    vote(run, 40, 20, times=12)
    best = verdict(run)
    assert best.votes
    assert (best.step, best.votes.favourite, best.votes.moved) == (20, 20, False)
    assert {one.step: one.chance for one in best.votes.steps} == {0: 0, 20: 1, 40: 0}


def test_agreement_of_each_metric_is_that_with_the_votes(run: RunDir) -> None:
    vote(run, 60, 0, times=4)
    vote(run, 0, 40, times=2)
    vote(run, 40, 0, times=3, answer="equal", voter="bo")
    best = verdict(run)
    assert best.votes
    found = {one.column: (one.agreed, one.num_votes) for one in best.votes.agreement}
    assert found["composite"] == found["visual_loss"] == found["color_loss"] == (4, 6)
    assert "clip_t" not in found, "it is the same at every step, so it prefers none"
    (composite,) = [one for one in best.votes.agreement if one.column == "composite"]
    assert composite.low < 0.5 < composite.share == 4 / 6 < composite.high
    assert not composite.is_above_chance


def test_a_rebuild_writes_what_the_votes_say_and_is_due_after_new_ones(run: RunDir) -> None:
    table = ResultsTable(run)
    table.rebuild()
    assert table.is_current()
    vote(run, 60, 40, times=12)
    assert not table.is_current()
    table.rebuild()
    best = run.read_best()
    assert table.is_current()
    assert best
    assert best.votes
    assert (best.step, best.votes.moved) == (60, True)


def test_the_command_writes_the_verdict_where_no_evaluator_lives(run: RunDir) -> None:
    ResultsTable(run).rebuild()
    vote(run, 60, 40, times=12)
    with run.votes_of("anna").open("ab") as file:
        file.write(b"not a vote\n")
    before = run.best.read_bytes()
    only_told = run_python(ROOT / "run.py", "verdict", run.path)
    assert run.best.read_bytes() == before
    assert "best.json names step 40" in only_told.stdout
    assert f"`python run.py verdict {run.path} --write` writes it again" in only_told.stdout
    assert "Not counted: votes/anna.jsonl line 13: it is not a vote of Darkroom" in only_told.stdout
    written = run_python(ROOT / "run.py", "verdict", run.path, "--write")
    best = run.read_best()
    assert best
    assert (best.step, best.votes and best.votes.num_problems) == (60, 1)
    assert "Votes: 12 (anna 12), 0 skipped" in written.stdout
    assert "best.json" not in written.stdout


def test_other_weights_are_not_written(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["verdict", str(run.path), "--write", "--prefer", "earliest"])
    with pytest.raises(ConfigError, match="--write writes the verdict by the run's own settings"):
        main()


def test_the_table_says_which_metric_agrees(run: RunDir) -> None:
    vote(run, 60, 0, times=12)
    text = io.StringIO()
    show(replay(run), Console(file=text, width=140, highlight=False))
    assert "How often a metric preferred the same picture as the voter:" in text.getvalue()
    assert "  composite: 12 of 12 (81% to 100%)\n" in text.getvalue()
