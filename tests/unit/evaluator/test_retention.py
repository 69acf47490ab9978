"""Snapshots kept by worth: the least worthy lose their weights, and what anybody may still want keeps them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from evaluator.agenda import Agenda
from evaluator.replay import replay
from evaluator.results_table import ResultsTable
from evaluator.retention import beyond, by_worth, delete
from evaluator.run_mode import RunMode
from shared.config.dumping import dump_config
from shared.config.loading import load_config
from shared.errors import RunFolderError
from shared.files.publication import publish, verify
from shared.followers.copies import copy
from shared.launch import archive
from shared.launch.quarantine import repair
from shared.run_folder import pending, requests
from shared.run_folder.averages import averaged
from shared.run_folder.file_to_ship import chosen_step, why_not_shippable
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.records.best import Best
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.sharing.leases import claimed, reading
from shared.run_folder.tables import read_rows
from shared.sweeps.results import Results
from tasks.text_to_image.lora import lora
from tests.conftest import RunMaker, check, create_run, paper_model, tiny_config
from tests.unit.evaluator.test_results_table import add, result_of
from tests.unit.evaluator.test_votes import vote
from tests.unit.trainer.test_publisher import METADATA, weights, writer
from trainer.publisher import Publisher

GAINS = {0: 0.0, 20: 0.05, 40: 0.1, 60: 0.15, 80: 0.3, 100: 0.2, 120: 0.12, 140: 0.02}
"""80 is the best, 140 the newest and the worst."""


def snapshot(run: RunDir, step: int) -> None:
    manifest = Manifest(kind="snapshot", run_id=run.read_record().run_id, step=step, details={"epoch": step / 10})
    publish(run.staging, run.snapshot(step), manifest, writer(float(step)))


def evaluated(run: RunDir, step: int, gain: float) -> None:
    """A result that is published whole: `check` looks at it."""
    losses = (0.5 + 0.02 * prompt - gain + 0.01 * ((step + prompt) % 3) for prompt in range(6))
    manifest = Manifest(kind="evaluation", run_id=run.read_record().run_id, step=step)
    result = result_of(step, *losses)
    publish(run.staging, run.evaluation(step), manifest, lambda folder: result.write(folder / "result.json"))


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> RunDir:
    return RunDir(shutil.copytree(whole_run, tmp_path / "runs" / "run"))


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    folder = tmp_path_factory.mktemp("retention")
    sections: dict[str, dict[str, object]] = {
        "train": {"snapshots_total_limit": 3},
        "evaluation": {"confirm_prompts": 0, "averages": 0, "strengths": []},
    }
    run = create_run(tiny_config(folder, "run", paper_model(folder / "model"), pictures, sections))
    for step, gain in GAINS.items():
        evaluated(run, step, gain)
        if step:
            snapshot(run, step)
    return run.path


def retain(run: RunDir) -> Best:
    ResultsTable(run, retains=True).rebuild()
    best = run.read_best()
    assert best
    assert run.snapshot(best.step).is_dir()
    return best


def left(run: RunDir) -> list[int]:
    return sorted(run.published_snapshots())


def test_the_best_and_the_newest_keep_their_weights_and_every_result_stays(run: RunDir) -> None:
    rows_before = ResultsTable(run).rebuild().candidates
    assert retain(run).step == 80
    assert left(run) == [80, 100, 140]
    assert sorted(run.deleted_snapshots()) == [20, 40, 60, 120]
    record = run.read_deleted(40)
    assert record
    assert (record.limit, record.snapshot.step, record.snapshot.details) == (3, 40, {"epoch": 4.0})
    assert record.num_bytes > 0
    assert [int(row["step"]) for row in read_rows(run.metrics_csv)] == list(GAINS)
    assert len(rows_before) == len(GAINS) - 1
    assert list(run.staging.glob("*")) == []
    verdict = replay(run)
    assert [row.step for row in verdict.snapshots if row.deleted] == [20, 40, 60, 120]
    assert [row.step for row in verdict.snapshots if row.eligible] == [80, 100, 140]
    assert check(run) == []


def test_a_second_look_deletes_nothing_more_and_changes_no_verdict(run: RunDir) -> None:
    retain(run)
    again = retain(run)
    assert left(run) == [80, 100, 140]
    assert again.step == 80
    assert again.deleted == (20, 40, 60, 120)
    assert "The weights of 4 other snapshots were deleted" in again.reason
    table = ResultsTable(run, retains=True)
    table.rebuild()
    assert table.is_current()


def test_without_a_limit_nothing_is_deleted_and_only_an_evaluator_deletes(run: RunDir) -> None:
    ResultsTable(run).rebuild()
    assert len(left(run)) == 7
    limitless = load_config(run.config, ["train.snapshots_total_limit=false"])
    run.config.write_text(dump_config(limitless), encoding="utf-8")
    assert limitless.train.snapshots_total_limit is None
    retain(run)
    assert len(left(run)) == 7


def test_what_people_care_for_stays_whatever_it_is_worth(run: RunDir) -> None:
    run.notes.write_text(json.dumps({"schema": "1.0", "starred": [20]}), encoding="utf-8")
    run.exports.mkdir()
    (run.exports / "run-000040-kohya.safetensors").write_bytes(b"x")
    vote(run, 60, 80, 1)
    retain(run)
    assert left(run) == [20, 40, 60, 80, 140], "more than the limit: each of them is wanted"


def test_what_waits_is_read_or_asked_for_stays(run: RunDir) -> None:
    snapshot(run, 10)  # has no result
    evaluated(run, 15, 0.0)
    snapshot(run, 15)
    requests.submit_evaluation(run, 60, "somebody", ["a dress"])
    both = averaged(20, 40)
    assert both
    with claimed(run, 15, "strengths/0.80") as mine, claimed(run, both) as averages, reading(run, 120):
        assert mine
        assert averages
        retain(run)
        assert left(run) == [10, 15, 20, 40, 60, 80, 120, 140]
    assert not list(run.claims.glob("reading/*"))
    retain(run)
    assert left(run) == [10, 60, 80, 140]


def test_one_that_could_not_be_evaluated_stays_and_a_skipped_one_goes_first(run: RunDir) -> None:
    for step, status in ((90, "failed"), (110, "skipped")):
        snapshot(run, step)
        add(run, step, status=status, reason="a test", samples=())
    retain(run)
    assert 90 in left(run), "nobody has judged it"
    assert 110 not in left(run)


@pytest.mark.parametrize("file", ["notes.json", "notes newer"])
def test_where_stars_cannot_be_read_nothing_is_deleted(run: RunDir, file: str) -> None:
    run.notes.write_text("{" if file == "notes.json" else '{"schema": "9.0"}', encoding="utf-8")
    retain(run)
    assert len(left(run)) == 7


def test_a_star_given_at_the_last_moment_counts(run: RunDir) -> None:
    run.notes.write_text(json.dumps({"schema": "1.0", "starred": [20]}), encoding="utf-8")
    assert not delete(run, 20, 3)
    with reading(run, 40):
        assert not delete(run, 40, 3)
    assert delete(run, 60, 3)
    assert left(run) == [20, 40, 80, 100, 120, 140]


def test_the_verdict_never_names_weights_that_are_gone(run: RunDir) -> None:
    for step in (80, 100):  # as if they had looked bad while they were deleted
        assert delete(run, step, 3)
    best = retain(run)
    assert best.step not in (80, 100)
    assert "Step 80 had a better smoothed composite, but its weights were deleted" in best.reason
    assert {80, 100}.isdisjoint(best.indistinguishable)
    assert best.contest
    assert {80, 100}.isdisjoint(best.contest.steps)
    vote(run, 80, best.step, 6)
    assert retain(run).step != 80, "nor do votes choose it"


def test_finalists_and_what_an_average_is_made_of_stay_once_training_has_ended(make_paper_run: RunMaker) -> None:
    run = make_paper_run(train={"snapshots_total_limit": 2}, evaluation={"averages": 2, "finalists": 4})
    for step, gain in GAINS.items():
        evaluated(run, step, gain)
        if step:
            snapshot(run, step)
    best = retain(run)
    assert best.averages
    assert set(best.finalists) <= set(left(run))
    assert {40, 60, 80, 100, 120} <= set(left(run)), "two averages: one neighbour on each side, then two"


def test_while_training_goes_on_the_limit_holds(make_paper_run: RunMaker) -> None:
    run = make_paper_run(train={"snapshots_total_limit": 2}, evaluation={"averages": 2, "finalists": 4})
    for step, gain in GAINS.items():
        evaluated(run, step, gain)
        if step:
            snapshot(run, step)
    with hold_role(run, "trainer"):
        retain(run)
    assert left(run) == [80, 140]


def test_worth_goes_by_the_smoothed_composite_and_flagged_ones_come_last(run: RunDir) -> None:
    found = ResultsTable(run).rebuild()
    statuses = dict.fromkeys(GAINS, "ok") | {30: "skipped", 50: "failed"}
    worth = by_worth(found, statuses)
    assert worth[0] == 80
    assert worth[-1] == 30
    assert 50 not in worth
    assert beyond(2, {20, 80, 140}, {140}, worth) == [20]
    assert beyond(3, {20, 80, 140}, {140}, worth) == []


def test_a_deletion_moves_no_place_of_every_kth_snapshot(make_paper_run: RunMaker) -> None:
    run = make_paper_run(train={"snapshots_total_limit": 2}, evaluation={"every": 2})
    settings = run.read_config().evaluation
    for step in (10, 20, 30, 40):
        snapshot(run, step)
    before = pending.skipped(run, settings)
    assert before == {10, 30}
    assert delete(run, 10, 2)
    assert pending.skipped(run, settings) == before


def test_the_trainer_does_not_publish_what_was_deleted_once_more(run: RunDir) -> None:
    retain(run)
    publisher = Publisher(run, run.read_record().run_id, 2)
    publisher.snapshot(40, weights(7.0), lambda folder: lora.write(folder, weights(7.0), METADATA), {})
    publisher.snapshot(160, weights(7.0), lambda folder: lora.write(folder, weights(7.0), METADATA), {})
    publisher.close()
    assert not run.snapshot(40).exists(), "its result is of other weights"
    assert verify(run.snapshot(160)).step == 160


def test_who_asks_for_deleted_weights_is_told(run: RunDir) -> None:
    retain(run)
    with pytest.raises(RunFolderError, match="the weights of step 40 were deleted") as caught:
        chosen_step(run, "40")
    assert "80, 100, 140" in caught.value.hint
    assert "snapshots_total_limit was 3" in why_not_shippable(run, 40)
    assert why_not_shippable(run, 80) == ""


def test_a_request_to_evaluate_deleted_weights_is_answered_with_the_reason(run: RunDir) -> None:
    retain(run)
    request = requests.submit_evaluation(run, 40, "somebody")
    run_mode = cast("RunMode", SimpleNamespace(once=True, current="drain"))
    with hold_role(run, "evaluator") as status:
        agenda = Agenda(run, run_mode, status, run.read_metric_descriptions(), run.read_config())
        assert agenda.unfinished() == []
    answer = requests.read_answer(run, request)
    assert answer
    assert answer.ignored == "the weights of step 40 were deleted (train.snapshots_total_limit)"


def test_copies_archives_and_sweeps_cope(run: RunDir, tmp_path: Path) -> None:
    (run.path / "train.csv").touch()
    assert copy(run.path, tmp_path / "copy", lambda text: None)
    retain(run)
    assert copy(run.path, tmp_path / "copy", lambda text: None)
    there = RunDir(tmp_path / "copy")
    assert sorted(steps_in(there.snapshots)) == [80, 100, 140]
    assert there.deleted_snapshots() == {20, 40, 60, 120}
    assert archive.write(run, tmp_path / "all.zip") == 3
    retain(run)
    results = Results(run)
    results.refresh()
    assert results.passed_over >= {20, 40, 60, 120}


def test_a_run_of_another_trainers_files_loses_nothing(run: RunDir) -> None:
    record = json.loads(run.record.read_text(encoding="utf-8"))
    record["imported"] = {"folder": "elsewhere", "trainer": "kohya"}
    run.record.write_text(json.dumps(record), encoding="utf-8")
    assert run.read_record().imported
    ResultsTable(run, retains=True).rebuild()
    assert len(steps_in(run.snapshots)) == 7


def test_a_damaged_result_of_deleted_weights_is_told_so(run: RunDir) -> None:
    retain(run)
    (run.evaluation(40) / "result.json").write_text("{}", encoding="utf-8")
    (moved,) = repair(run)
    assert "its weights were deleted" in moved.follows
