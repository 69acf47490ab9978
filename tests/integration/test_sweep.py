"""`run.py sweep` with real trials on the tiny model."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit

from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.run_dir import steps_in
from shared.run_folder.tables import read_rows
from shared.sweeps.sweep_dir import SweepDir
from tests.conftest import ROOT, check, environment, tiny_config, until

SWEEP = """
[sweep]
base = "base.toml"
num_trials = 1

[space]
"lora.rank" = [2, 4]
"""


@pytest.mark.timeout(300)
def test_a_killed_sweep_goes_on(tmp_path: Path, tiny_model: Path, pictures: Path) -> None:
    """Its trial saves and ends when the sweep is gone; then it is resumed where it was, and no step is made twice."""
    settings = {"train": {"max_train_steps": 6, "snapshot_steps": 3}, "evaluation": {"rescan_seconds": 0.5}}
    config = tiny_config(tmp_path / "runs", "base", tiny_model, pictures, settings)
    tree = config.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    del tree["run"]
    (tmp_path / "base.toml").write_text(tomlkit.dumps(tree), encoding="utf-8")
    (tmp_path / "my-sweep.toml").write_text(SWEEP, encoding="utf-8")
    command = [sys.executable, ROOT / "run.py", "sweep", "my-sweep.toml"]
    folder = SweepDir(tmp_path / "runs" / "my-sweep")
    trial = folder.run(0)
    with subprocess.Popen([*map(str, command)], cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL) as sweep:
        until(lambda: trial.train_csv.is_file() and len(read_rows(trial.train_csv)) > 1, "two steps of a trial")
        sweep.send_signal(signal.SIGKILL)
    done = subprocess.run([*map(str, command)], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "trial-000 goes on" in done.stdout
    record = folder.read_record()
    assert record
    assert (record.state, [one.state for one in record.trials]) == ("finished", ["done"])
    assert [int(row["step"]) for row in read_rows(trial.train_csv)] == [1, 2, 3, 4, 5, 6]
    assert steps_in(trial.evaluations) >= {0, 3, 6}
    assert not is_alive(read_status(trial, "supervisor"))
    assert check(trial) == []
    assert trial.read_config().data.validation_ids == trial.read_record().dataset.held_out
    assert "trial-000 is the only setting that is done" in done.stdout
