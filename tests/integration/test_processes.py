"""Several training processes on gloo: the same pictures, the same losses as one process with the same global batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared import control
from shared.publication import verify
from shared.rundir import RunDir, steps_in
from shared.status import read_status
from shared.tables import read_rows
from tests.conftest import ROOT, RunMaker, Warm, environment, until


def losses(run: RunDir) -> list[float]:
    return [float(row["loss"]) for row in read_rows(run.train_csv)]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_with_the_same_global_batch(make_run: RunMaker, warm: Warm) -> None:
    train = {"max_train_steps": 3, "snapshot_steps": 3, "checkpointing_steps": 3, "learning_rate": 1e-2}
    one = make_run("one", train={**train, "train_batch_size": 4})
    warm.run("trainer", one.path)
    two = make_run("two", train={**train, "train_batch_size": 2})
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "trainer", str(two.path)]
    outcome = subprocess.run(
        [sys.executable, *launch],
        capture_output=True,
        text=True,
        env=environment(ACCELERATE_USE_CPU="true"),
        cwd=ROOT,
        timeout=240,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert read_rows(two.train_csv)[0]["epoch"] == read_rows(one.train_csv)[0]["epoch"], "both processes count"
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)
    assert len(losses(two)) == 3
    assert steps_in(two.snapshots) == {3}
    verify(two.snapshot(3))
    verify(two.checkpoint(3))


@pytest.mark.slow
def test_two_processes_pause_go_on_and_stop_together(make_run: RunMaker, tmp_path: Path) -> None:
    run = make_run(train={"max_train_steps": 100_000, "snapshot_steps": 50_000, "checkpointing_steps": 50_000})
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "trainer", str(run.path)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *launch], stderr=log, env=environment(ACCELERATE_USE_CPU="true"), cwd=ROOT
        )

    def state() -> str:
        status = read_status(run, "trainer")
        return status.state if status else ""

    try:
        until(lambda: len(losses(run)) > 2, f"some steps; {tmp_path / 'log'}")
        control.submit(run, "pause", by="a test")
        until(lambda: state() == "paused", "the pause")
        held = len(losses(run))
        wanted = control.submit(run, "snapshot-now", by="a test")
        until(lambda: control.read_answer(run, wanted).done, "the snapshot")
        assert len(losses(run)) == held
        control.submit(run, "resume", by="a test")
        until(lambda: len(losses(run)) > held, "training to go on")
        control.submit_stop(run, by="a test")
        assert process.wait(timeout=60) == 0
    finally:
        process.terminate()
        process.wait()
    assert state() == "stopped"
    assert max(steps_in(run.checkpoints)) == len(losses(run))
