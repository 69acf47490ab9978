"""What still waits in a run; in which order it is taken is tested in test_work_queue.py."""

from __future__ import annotations

import shutil

import pytest

from evaluator.evaluate import skip
from shared.config.schema import EvaluationConfig
from shared.files.publication import publish
from shared.run_folder import requests
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.pending import BASE_MODEL, Work, due, is_known, left_to_evaluate, unevaluated, without_result
from shared.run_folder.records.best import Best
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import write_rows
from tests.conftest import RunMaker


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def snapshot(run: RunDir, step: int, run_id: str | None = None) -> None:
    manifest = Manifest(kind="snapshot", run_id=run_id or run.read_record().run_id, step=step)
    publish(run.staging, run.snapshot(step), manifest, lambda _: None)


def test_what_is_unevaluated_counts_the_base_model_and_leaves_other_runs_out(run: RunDir) -> None:
    assert unevaluated(run) == set()

    snapshot(run, 99999, "another")
    assert unevaluated(run) == set()
    snapshot(run, 2)
    assert unevaluated(run) == {0, 2}
    run.evaluation(BASE_MODEL).mkdir()
    write_rows(run.metrics_csv, OLDER_METRICS.header, [{"step": 0}])
    assert unevaluated(run) == {2}
    run.evaluation(2).mkdir()
    EvaluationResult(run_id="r", step=2, status="ok").write(run.evaluation(2) / "result.json")
    assert unevaluated(run) == {2}, "its evaluator may have died before it weighed the result"
    write_rows(run.metrics_csv, OLDER_METRICS.header, [{"step": 0}, {"step": 2}])
    assert unevaluated(run) == set()
    shutil.rmtree(run.evaluation(2))
    assert unevaluated(run) == {2}, "its result was removed, so that it is evaluated again"


def test_a_skipped_snapshot_has_a_result_and_an_unskipped_one_waits(run: RunDir) -> None:
    settings = EvaluationConfig(every=2)
    for step in (10, 20, 30):
        snapshot(run, step)
    assert without_result(run) == {BASE_MODEL, 10, 20, 30}
    assert due(run, settings, trainer_lives=True) == {BASE_MODEL, 20}
    assert due(run, settings, trainer_lives=False) == {BASE_MODEL, 20, 30}, "the last is always evaluated"
    run.evaluation(BASE_MODEL).mkdir()
    skip(run, run.read_record(), 10, "evaluation.every is 2")
    assert without_result(run) == {20, 30}


def test_a_step_that_a_person_asks_for_is_due(run: RunDir) -> None:
    for step in (10, 20):
        snapshot(run, step)
    run.evaluation(BASE_MODEL).mkdir()
    requests.submit_evaluation(run, 10, by="a test")
    assert due(run, EvaluationConfig(every=2), trainer_lives=True) == {10, 20}
    assert is_known(run, 10)
    assert is_known(run, BASE_MODEL)
    assert not is_known(run, 15)
    assert not is_known(run, None)


def test_finalists_are_left_once_every_snapshot_has_its_row(run: RunDir) -> None:
    snapshot(run, 2)
    best = Best(step=2, snapshot="", reason="", better_than_base=True, num_evaluated=1, finalists=(2,))
    best.write(run.best)
    assert left_to_evaluate(run) == [Work(BASE_MODEL), Work(2)]
    assert unevaluated(run) == {BASE_MODEL, 2}
    for step in (BASE_MODEL, 2):
        run.evaluation(step).mkdir()
    write_rows(run.metrics_csv, OLDER_METRICS.header, [{"step": 0}])
    assert left_to_evaluate(run) == [Work(2)]
    write_rows(run.metrics_csv, OLDER_METRICS.header, [{"step": 0}, {"step": 2}])
    assert left_to_evaluate(run) == [Work(BASE_MODEL, "confirmations"), Work(2, "confirmations")], "once more"
    for step in (BASE_MODEL, 2):
        run.result("confirmations", step).mkdir(parents=True)
    assert left_to_evaluate(run) == []
