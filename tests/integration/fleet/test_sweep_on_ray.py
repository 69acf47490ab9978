"""Trials of a sweep on a real cluster of Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest
import tomlkit
from ray.cluster_utils import Cluster

from shared.cluster.address import parse
from shared.cluster.connection import connected
from shared.errors import ConfigError
from shared.run_folder.run_dir import steps_in
from shared.run_folder.tables import read_rows
from shared.sweeps.places.on_ray import LOST, OnRay
from shared.sweeps.sweep_dir import SweepDir
from shared.sweeps.sweep_file import Resources
from tests.conftest import ROOT, check, environment, tiny_config, until
from tests.integration.fleet.conftest import NODE, NUM_CPUS


@pytest.fixture
def ray_is_connected(cluster: Cluster) -> Generator[None]:
    with connected(parse(cluster.address), {}):
        yield


@pytest.mark.usefixtures("ray_is_connected")
def test_trials_run_where_there_is_room_and_one_that_is_lost_says_so(tmp_path: Path, cluster: Cluster) -> None:
    """One ends by itself, because there is no such config; one waits for its config to be written, and is killed."""
    place, waiting = OnRay(Resources()), tmp_path / "waiting.toml"
    assert place.num_slots == NUM_CPUS
    assert OnRay(Resources(max_parallel=1)).num_slots == 1
    os.mkfifo(waiting)
    kept = place.start(waiting, tmp_path / "logs" / "waiting.log")
    wrong = place.start(tmp_path / "missing.toml", tmp_path / "logs" / "missing.log")
    until(lambda: wrong.poll() is not None, "the trial without a config")
    assert wrong.poll() == 2
    assert "error: cannot read" in (tmp_path / "logs" / "missing.log").read_text(encoding="utf-8")
    assert kept.poll() is None
    until(lambda: trials_of(waiting), "the trial that waits")
    kept.end()
    until(lambda: kept.poll() is not None, "the end of the trial")
    assert kept.poll() == LOST
    until(lambda: not trials_of(waiting), "the end of its processes")
    node = cluster.add_node(**NODE, num_cpus=1)
    until(lambda: place.num_slots == NUM_CPUS + 1, "room on a node that came later")
    cluster.remove_node(node)


@pytest.mark.usefixtures("ray_is_connected")
def test_a_trial_that_no_node_has_room_for_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        OnRay(Resources(cpus=64, gpus=1))
    assert str(refused.value).startswith("a trial takes 64 CPUs and 1 GPUs, the cluster has 2 CPUs and 0 GPUs")
    assert "lower resources.cpus" in refused.value.hint


def trials_of(config: Path) -> list[psutil.Process]:
    """Processes that train with it, wherever on this machine."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and str(config) in process.cmdline():
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


SWEEP = """
[sweep]
base = "base.toml"
sampler = "grid"
prune = false
[space]
"lora.rank" = [2, 4]
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_sweep_goes_on_on_the_cluster(
    cluster: Cluster, tmp_path: Path, tiny_model: Path, pictures: Path
) -> None:
    """Both trials at once; killed in the middle, none is repeated or lost."""
    settings = {"train": {"max_train_steps": 6, "snapshot_steps": 3}, "evaluation": {"rescan_seconds": 0.5}}
    config = tiny_config(tmp_path / "runs", "base", tiny_model, pictures, settings)
    tree = config.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    del tree["run"]
    (tmp_path / "base.toml").write_text(tomlkit.dumps(tree), encoding="utf-8")
    (tmp_path / "ranks.toml").write_text(SWEEP, encoding="utf-8")
    command = [sys.executable, str(ROOT / "run.py"), "sweep", "ranks.toml", "--on", cluster.address]
    folder = SweepDir(tmp_path / "runs" / "ranks")
    trials = [folder.run(0), folder.run(1)]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL) as sweep:
        until(lambda: all(run.train_csv.is_file() for run in trials), "both trials")
        sweep.send_signal(signal.SIGKILL)
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    record = folder.read_record()
    assert record
    assert [one.state for one in record.trials] == ["done", "done"]
    for run in trials:
        assert [int(row["step"]) for row in read_rows(run.train_csv)] == [1, 2, 3, 4, 5, 6]
        assert steps_in(run.evaluations) >= {0, 3, 6}
        assert check(run) == []
