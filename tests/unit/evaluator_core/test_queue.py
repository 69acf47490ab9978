"""What is judged next: the base model, then the newest; never what is judged, claimed, or another run's."""

from __future__ import annotations

import threading

import pytest

from evaluator.queue import pending, watching
from shared.claims import claimed
from shared.publication import publish
from shared.records import Manifest
from shared.rundir import RunDir
from tests.conftest import RunMaker, until


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def add(run: RunDir, step: int, run_id: str | None = None) -> None:
    manifest = Manifest(kind="snapshot", run_id=run_id or run.read_record().run_id, step=step)
    publish(run.staging, run.snapshot(step), manifest, lambda folder: None)


def judged(run: RunDir, *steps: int) -> None:
    for step in steps:
        run.evaluation(step).mkdir()


def test_the_base_model_comes_before_everything(run: RunDir) -> None:
    add(run, 2)
    assert pending(run) == [0]


def test_the_newest_snapshot_comes_first_and_older_ones_follow(run: RunDir) -> None:
    for step in (20, 100, 4):
        add(run, step)
    judged(run, 0)
    assert pending(run) == [100, 20, 4]
    judged(run, 100)
    assert pending(run) == [20, 4]


def test_what_another_evaluator_is_at_work_on_is_left_to_it(run: RunDir) -> None:
    add(run, 2)
    add(run, 4)
    with claimed(run, 0):
        assert pending(run) == [4, 2]
    judged(run, 0)
    with claimed(run, 4):
        assert pending(run) == [2]
    assert pending(run) == [4, 2]


def test_another_runs_snapshot_is_never_judged(run: RunDir) -> None:
    judged(run, 0)
    add(run, 2)
    add(run, 99999, run_id="another")
    run.snapshot(6).mkdir()  # being copied in by hand: no manifest yet
    assert pending(run) == [2]


def test_a_snapshot_with_a_damaged_manifest_is_judged_and_stops_no_other(run: RunDir) -> None:
    judged(run, 0)
    add(run, 2)
    add(run, 4)
    (run.snapshot(4) / "manifest.json").write_bytes(b"")
    assert pending(run) == [4, 2]


def test_a_new_snapshot_wakes_the_evaluator(run: RunDir) -> None:
    wake = threading.Event()
    with watching(run, wake):
        assert not wake.is_set()
        add(run, 2)
        until(wake.is_set, "a file event", seconds=10)
