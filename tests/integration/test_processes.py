"""Several training processes on gloo: the same pictures, the same losses as one process with the same global batch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shared.publication import verify
from shared.rundir import RunDir, steps_in
from shared.tables import read_rows
from tests.conftest import ROOT, RunMaker, Warm, environment


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
