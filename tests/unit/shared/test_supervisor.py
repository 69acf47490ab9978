"""The small parts of the supervisor; tests/integration shows the whole."""

from __future__ import annotations

import os

import pytest

from shared import supervisor
from shared.publication import publish
from shared.records import EvaluationResult, Manifest
from shared.supervisor import ROOT, child_environment, unjudged
from shared.tables import METRIC_COLUMNS, write_rows
from tests.conftest import RunMaker

HOST = "127.0.0.1"


def test_children_find_our_packages_first_and_hold_the_lifeline(
    make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("HOME", "/home/someone")
    run = make_paper_run()
    environment = child_environment(run)
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/elsewhere"]
    assert environment["DARKROOM_LIFELINE"] == "1"
    assert environment["HOME"] == "/home/someone"
    assert (environment["DARKROOM_RUNS"], environment["DARKROOM_RUN"]) == (str(run.path.parent), run.path.name)
    monkeypatch.delenv("PYTHONPATH")
    assert child_environment(None)["PYTHONPATH"] == str(ROOT)
    assert "DARKROOM_RUN" not in child_environment(None)


def test_what_is_left_to_judge_knows_the_base_model_and_leaves_other_runs_out(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    assert unjudged(run) == set()

    def snapshot(step: int, run_id: str) -> None:
        publish(run.staging, run.snapshot(step), Manifest(kind="snapshot", run_id=run_id, step=step), lambda _: None)

    snapshot(99999, "another")
    assert unjudged(run) == set()
    snapshot(2, run.read_record().run_id)
    assert unjudged(run) == {0, 2}
    write_rows(run.metrics_csv, METRIC_COLUMNS, [{"step": 0}])
    assert unjudged(run) == {2}
    run.evaluation(2).mkdir()
    EvaluationResult(run_id="r", step=2, status="ok").write(run.evaluation(2) / "result.json")
    assert unjudged(run) == {2}, "its evaluator may have died before it weighed the result"
    write_rows(run.metrics_csv, METRIC_COLUMNS, [{"step": 0}, {"step": 2}])
    assert unjudged(run) == set()


def test_a_restart_is_not_tried_for_errors_it_cannot_cure() -> None:
    assert {2, 5} == supervisor.PERMANENT
