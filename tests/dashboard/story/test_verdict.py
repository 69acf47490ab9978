"""The verdict in words: of other tasks, of one prompt, of a choice that cannot be recommended."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboard.data.best_snapshot import best_table_html
from dashboard.data.reader import RunReader
from dashboard.story.drawn import drawn_steps
from dashboard.story.snapshots import table
from dashboard.story.wording import about, short, units
from dashboard.text.formatting import skilled
from examples.fake_run.history import write_history
from examples.fake_run.run import FakeRun, create
from shared.run_folder.averages import averaged
from shared.run_folder.metric_descriptions import MetricDescriptions, Words
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.phrase import Phrase
from shared.run_folder.records.best import Best, Confirmation, Signal
from shared.run_folder.records.interval import Interval
from shared.run_folder.records.strength import Strength
from shared.run_folder.tables import read_rows, write_rows
from tests.dashboard.story.conftest import Show


def change(run: FakeRun, **changes: object) -> Best:
    """Another verdict in place of the run's."""
    best = run.run.read_best()
    assert best
    changed = best.model_copy(update=changes)
    changed.write(run.run.best)
    return changed


def test_another_task_speaks_in_its_own_words(tmp_path: Path, show: Show) -> None:
    words = Words(prompt="row", sample="point", base="step 0")
    descriptions = MetricDescriptions(metrics=OLDER_METRICS.metrics, words=words)
    fake = create(tmp_path / "line", steps=60, snapshot_steps=20, descriptions=descriptions)
    write_history(fake)
    verdict = show(fake.run).verdict
    assert verdict.sentence == "Better than step 0 on 8 of 8 rows."
    assert verdict.rows[0].words == "better on 8 of 8 rows"


def test_where_all_pairs_have_one_prompt_each_pair_counts(finished: FakeRun, show: Show) -> None:
    for step in (0, 120):
        result = finished.run.read_result(step)
        assert result
        samples = tuple(sample.model_copy(update={"prompt": "a kimono"}) for sample in result.samples)
        result.model_copy(update={"samples": samples}).write(finished.run.evaluation(step) / "result.json")
    verdict = show(finished.run).verdict
    assert verdict.sentence.startswith("Better than the base model on 8 of 8 held-out pairs")
    assert verdict.cautions == ("All pictures were drawn from one prompt, so nothing is known of others.",)


def test_where_nothing_ranks_and_nobody_has_voted_voting_comes_first(finished: FakeRun, show: Show) -> None:
    unknown = [Signal.told(name, None, Phrase(text="there is nothing to compare with")) for name in ("contrast", "gap")]
    change(finished, ranked=False, votes=None, confirmation=None, signals=tuple(unknown), latest_signals=())
    verdict = show(finished.run).verdict
    assert (verdict.kind, verdict.rows) == ("unvoted", ())
    assert [text for text in verdict.cautions if text.startswith("Not checked")] == [
        "Not checked for contrast, gap: there is nothing to compare with."
    ]


def test_a_best_that_is_not_sure_stands_beside_those_that_are(finished: FakeRun, show: Show) -> None:
    *rest, last = [cell.step for cell in show(finished.run).strip if cell.mark == "better" and not cell.best]
    change(finished, better_than_base=False, confirmation=None, proven=(last, *rest))
    verdict = show(finished.run).verdict
    assert (verdict.kind, verdict.headline, verdict.tone) == ("unproven", "Step 120 leads, but is not sure", "warn")
    named = ", ".join(map(str, [*rest, last]))
    assert f"Steps {named} are surely better than the base model: take step {last}, the best" in verdict.sentence
    assert verdict.runner_up
    assert verdict.runner_up.step == last
    change(finished, better_than_base=False, confirmation=None, proven=(last,))
    assert f"Step {last} is surely better than the base model: take it" in show(finished.run).verdict.sentence
    change(finished, better_than_base=True, proven=(120, last))
    assert "leads" not in show(finished.run).verdict.headline


def test_an_interval_wider_than_all_that_a_metric_can_be_is_told_in_words(finished: FakeRun, show: Show) -> None:
    descriptions = json.loads(finished.run.metric_descriptions.read_text(encoding="utf-8"))
    for column in (column for metric in descriptions["metrics"] for column in metric["columns"]):
        column["span"] = 1.0
    finished.run.metric_descriptions.write_text(json.dumps(descriptions), encoding="utf-8")
    best = finished.run.read_best()
    assert best
    wide = {name: Interval(delta=-0.1, low=-250.0, high=250.0) for name in best.deltas}
    change(finished, deltas=wide)
    shown, reader = show(finished.run).verdict.rows, RunReader(finished.run, "run")
    assert {(row.better, row.low, row.high) for row in shown} == {(None, None, None)}
    assert all("too few prompts to be sure" in row.words for row in shown)
    told = best_table_html(reader.best() or best, reader.base_metrics(), reader.descriptions)
    assert "unknown with so few prompts" in told
    assert "250" not in told
    assert (skilled(-76.77), skilled(-0.78)) == ("far below 0", "−0.78")


def test_a_choice_that_is_flagged_is_not_recommended(finished: FakeRun, show: Show) -> None:
    change(finished, flagged=True, cautions=("Hold out more.",))
    verdict = show(finished.run).verdict
    assert (verdict.kind, verdict.headline, verdict.tone) == ("unproven", "No snapshot can be recommended", "bad")
    assert "as every other one does" in verdict.sentence
    assert verdict.cautions == ("Hold out more.",)


def test_a_verdict_that_was_deleted_is_missing_and_how_to_write_it_again_is_said(finished: FakeRun, show: Show) -> None:
    finished.run.best.unlink()
    verdict = show(finished.run).verdict
    assert (verdict.kind, verdict.headline) == ("failed", "The verdict is missing")
    assert f"run.py evaluate {finished.run.path}" in verdict.sentence


def test_a_sign_of_overfitting_at_the_best_is_a_caution_and_in_the_sentence(finished: FakeRun, show: Show) -> None:
    change(finished, signals=(Signal(name="copying", raised=True, evidence="3 of 8 pictures are copies"),))
    verdict = show(finished.run).verdict
    assert verdict.tone == "warn"
    assert verdict.sentence.endswith("with signs of overfitting (copying).")
    assert verdict.cautions[0] == "Sign of overfitting, copying: 3 of 8 pictures are copies."


def test_the_strength_to_use_is_in_the_sentence_and_on_the_button_where_it_is_another_than_1(
    finished: FakeRun, show: Show
) -> None:
    change(finished, strength=Strength(recommended=1.0, drawn=(), lower=0.7, reason=""))
    full = show(finished.run).verdict
    assert full.sentence.endswith("to be used at strength 1.")
    assert "strength" not in full.downloads[0].label
    change(finished, strength=Strength(recommended=0.8, drawn=(), lower=0.7, kept=0.834, survives=True, reason=""))
    found = show(finished.run).verdict
    assert found.sentence.endswith("to be used at strength 0.8, 83% of the gain is left at 0.7.")
    assert "to use at strength 0.8" in found.downloads[0].label
    assert "strength" not in found.downloads[1].label


def test_an_average_of_snapshots_is_shown_like_one_and_marked(finished: FakeRun, show: Show) -> None:
    run, both = finished.run, averaged(80, 120)
    assert both
    result, rows = run.read_result(120), read_rows(run.metrics_csv)
    assert result
    shutil.copytree(run.evaluation(120), run.evaluation(both))
    result.model_copy(update={"step": both}).write(run.evaluation(both) / "result.json")
    shutil.copytree(run.snapshot(120), run.snapshot(both))
    row = next(row for row in rows if row["step"] == "120")
    write_rows(run.averages_csv, tuple(row), [{**row, "step": both}])
    change(finished, step=both)
    shown, reader = show(run), RunReader(run, run.read_record().run_id)
    cell = shown.strip[-1]
    assert (cell.label, cell.averaged, cell.best, cell.wins) == ("80–120", True, True, shown.strip[3].wins)
    assert cell.words.startswith("Step 80–120, best")
    assert "averaged weights" in cell.words
    assert shown.verdict.headline == "Ship step 80–120"
    assert list(table(reader).lines)[-1] == both
    assert "80–120" in [one.label.partition(" ")[0] for one in drawn_steps(reader)]
    assert not {both} & {*reader.evaluated_steps(), *reader.snapshot_steps()}, "no chart ends there"


@pytest.mark.parametrize(
    ("num_unseen", "said"),
    [
        (12, "confirmed on 12 unseen prompts"),
        (1, "confirmed on 1 unseen prompt"),
        (0, "confirmed with new seeds"),
        (None, "confirmed on 20 unseen prompts"),
    ],
)
def test_what_the_final_adds_is_said(finished: FakeRun, show: Show, num_unseen: int | None, said: str) -> None:
    final = Confirmation(
        step=120,
        finalists=(120,),
        agrees=False,
        better_than_base=True,
        composite=None,
        num_prompts=20,
        num_unseen=num_unseen,
        num_pictures=1,
        reason="",
    )
    change(finished, confirmation=final)
    verdict = show(finished.run).verdict
    assert said in verdict.sentence
    assert "Evaluating the best ones again changed the choice to step 120." in verdict.cautions


def test_snapshots_that_were_passed_over_are_named_with_the_reason(finished: FakeRun, show: Show) -> None:
    reason = "shows a sign of overfitting (gap)"
    change(finished, passed_over={200: reason, 40: reason, 80: "follows its prompts less than the base model does"})
    shown = show(finished.run)
    assert "Steps 200, 40 were passed over: each shows a sign of overfitting (gap)." in shown.verdict.cautions
    assert shown.verdict.runner_up is None
    assert [cell.step for cell in shown.strip if cell.flagged] == [40, 80, 200]
    assert "passed over: it follows its prompts less than the base model does" in shown.strip[2].words


def test_a_best_that_is_worse_than_the_base_model_is_said_to_be(finished: FakeRun, show: Show) -> None:
    best = finished.run.read_best()
    assert best
    assert best.composite
    turned = best.composite.model_copy(update={"delta": 0.3, "low": 0.1, "high": 0.5})
    change(finished, better_than_base=False, composite=turned)
    assert "and worse than the base model on " in show(finished.run).verdict.sentence


@pytest.mark.parametrize(
    ("say_it", "expected"),
    [
        (lambda: units(1, "prompt"), "1 prompt"),
        (lambda: units(12, "prompt"), "12 prompts"),
        (lambda: about(3), "5 s"),
        (lambda: about(100), "2 min"),
        (lambda: about(5400), "1.5 h"),
        (lambda: short("a  very\n" + "long " * 30), "a very " + "long " * 8 + "…"),
        (lambda: short("x" * 100), "x" * 48 + " …"),
    ],
)
def test_numbers_and_long_texts_are_short(say_it: Callable[[], str], expected: str) -> None:
    assert say_it() == expected
