"""Training through Ray Train is training by `run.py train` with as many processes, bit for bit, killed or not."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster

from shared.run_folder.heartbeat import read_status
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from tests.conftest import Warm, check, create_run, run_python, until
from tests.integration.fleet.conftest import NODE
from tests.integration.test_toy_task import config_of

STEPS = {
    "max_train_steps": 1500,
    "snapshot_steps": 500,
    "checkpointing_steps": 250,
    "validation_steps": 500,
}


def processes(run: RunDir) -> list[psutil.Process]:
    """The trainer's, in no order."""
    words = ["-m", "trainer", str(run.path)]
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if (process.info["cmdline"] or [])[1:] == words]


def content(run: RunDir) -> dict[str, bytes]:
    """Of every snapshot and checkpoint the files, but for the records with times."""
    folders = (run.snapshots, run.checkpoints)
    files = [path for folder in folders for path in folder.rglob("*.safetensors")]
    return {path.relative_to(run.path).as_posix(): path.read_bytes() for path in files}


def losses(run: RunDir) -> list[tuple[str, str]]:
    return [(row["step"], row["loss"]) for row in read_rows(run.train_csv)]


@pytest.mark.slow
def test_two_processes_one_killed_and_resumed_learn_what_they_learn_without_ray(
    cluster: Cluster, warm: Warm, tmp_path: Path
) -> None:
    here, there = (
        create_run(config_of(tmp_path / name, **STEPS, num_processes=2))
        for name in (folder(tmp_path, "here"), folder(tmp_path, "there"))
    )
    copied = RunDir(here.path)
    done = run_python(
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "trainer", copied.path
    )
    assert done.returncode == 0, done.stderr
    program = warm.start("trainer.cluster", there.path, "--on", cluster.address)
    until(lambda: steps_in(there.checkpoints), "a checkpoint", seconds=200)
    victim = next(one for one in processes(there) if one.environ()["RANK"] == "1")
    victim.send_signal(signal.SIGKILL)
    assert program.wait() == 1, program.stderr()
    until(lambda: not processes(there), "the end of the other process")
    again = warm.start("trainer.cluster", there.path, "--on", cluster.address)
    until(lambda: again.poll() is not None, "the end of training", seconds=200)
    assert again.returncode == 0, again.stderr()
    status = read_status(there, "trainer")
    assert status
    assert (status.state, status.step) == ("finished", 1500)
    assert "resuming after step" in (there.logs / "trainer.log").read_text()
    assert content(there) == content(here)
    assert losses(there) == losses(here)
    assert not list(there.staging.iterdir())
    assert check(there) == []


@pytest.mark.slow
def test_a_machine_is_lost_and_training_goes_on_by_itself_on_a_new_one(
    cluster: Cluster, warm: Warm, tmp_path: Path
) -> None:
    """Three processes on two machines of two and one processors. The learnt weights are those of an unhurt run."""
    here, there = (
        create_run(config_of(tmp_path / name, **STEPS, num_processes=3))
        for name in (folder(tmp_path, "here"), folder(tmp_path, "there"))
    )
    done = run_python("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 3, "-m", "trainer", here.path)
    assert done.returncode == 0, done.stderr
    machine = cluster.add_node(**NODE, num_cpus=1)
    machines = [machine]
    try:
        program = warm.start("trainer.cluster", there.path, "--on", cluster.address)
        until(lambda: steps_in(there.checkpoints), "a checkpoint", seconds=200)
        cluster.remove_node(machine, allow_graceful=False)
        machines = [cluster.add_node(**NODE, num_cpus=1)]
        until(lambda: program.poll() is not None, "the end of training", seconds=300)
    finally:
        for one in machines:
            cluster.remove_node(one)
    assert program.returncode == 0, program.stderr()
    assert "training goes on from the newest checkpoint" in program.stderr()
    assert content(there) == content(here)
    assert losses(there) == losses(here)
    assert check(there) == []


def folder(parent: Path, name: str) -> str:
    (parent / name).mkdir()
    return name


@pytest.mark.slow
def test_a_cluster_that_is_too_small_is_refused(cluster: Cluster, warm: Warm, tmp_path: Path) -> None:
    run = create_run(config_of(tmp_path, num_processes=64))
    program = warm.start("trainer.cluster", run.path, "--on", cluster.address)
    until(lambda: program.poll() is not None, "the refusal", seconds=60)
    assert program.returncode == 2
    assert "train.num_processes is 64, the cluster has 2 processors" in program.stderr()
    assert not steps_in(run.checkpoints)
