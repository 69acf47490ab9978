"""Jobs of SLURM that are interrupted, queued again and resumed: through submitit, and by the script for sbatch."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import psutil
import pytest
import submitit
from safetensors.torch import load_file

from shared.config.dumping import dump_config
from shared.config.schema import Config
from shared.run_folder.heartbeat import read_status
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from tasks.text_to_image.lora.lora import LORA_FILE
from tests.conftest import ROOT, Warm, check, create_run, environment, tiny_config, until

CLUSTERS = ROOT / "examples" / "clusters"
TRAIN = {"max_train_steps": 120, "snapshot_steps": 60, "checkpointing_steps": 60}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def config(tmp_path: Path, tiny_model: Path, pictures: Path) -> Config:
    return tiny_config(tmp_path / "runs", "run", tiny_model, pictures, {"train": dict(TRAIN)})


@pytest.fixture
def written(config: Config, tmp_path: Path) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(dump_config(config), encoding="utf-8")
    return path


def recipe() -> ModuleType:
    """The example, as a module that a job can import."""
    spec = importlib.util.spec_from_file_location("slurm_submitit", CLUSTERS / "slurm_submitit.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def is_under_way(run: RunDir) -> Callable[[], bool]:
    return lambda: run.train_csv.exists() and len(read_rows(run.train_csv)) >= 5


def is_like_one_that_nobody_interrupted(run: RunDir, config: Config, warm: Warm, folder: Path) -> None:
    rows = [row["step"] for row in read_rows(run.train_csv)]
    assert rows == [str(step) for step in range(1, TRAIN["max_train_steps"] + 1)]
    output = config.run.model_copy(update={"output_dir": folder})
    alone = create_run(config.model_copy(update={"run": output}))
    warm.run("trainer", alone.path)
    for step in (60, 120):
        mine, others = (load_file(one.snapshot(step) / LORA_FILE) for one in (run, alone))
        assert all(mine[name].equal(others[name]) for name in others)
    status = read_status(run, "trainer")
    assert status
    assert status.state == "finished"
    assert check(run) == []


def test_a_job_of_submitit_is_interrupted_queued_again_and_resumed(
    written: Path, config: Config, warm: Warm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(PYTHONPATH=f"{CLUSTERS}:{ROOT}").items():
        monkeypatch.setenv(name, value)
    run = RunDir(tmp_path / "runs" / "run")
    executor = submitit.LocalExecutor(tmp_path / "logs")
    executor.update_parameters(timeout_min=30, signal_delay_s=60)
    job = executor.submit(recipe().Training(str(written), str(run.path), ("--no-dashboard", "--no-evaluator")))
    until(is_under_way(run), f"training; {job.stderr()}", seconds=240)
    controller = psutil.Process(int(job.job_id))
    task = next(child for child in controller.children() if "submitit.core._submit" in " ".join(child.cmdline()))
    os.kill(task.pid, signal.SIGUSR2)
    until(lambda: not task.is_running(), "the end of the first session", seconds=120)
    first = max(steps_in(run.checkpoints))
    assert first < TRAIN["max_train_steps"], "it was interrupted, and has saved"
    assert job.result() == 0
    assert "Requeued job" in (job.stderr() or "") + (job.stdout() or "")
    is_like_one_that_nobody_interrupted(run, config, warm, tmp_path / "alone")


def test_the_script_for_sbatch_saves_on_its_signal_and_asks_for_a_requeue(
    written: Path, config: Config, warm: Warm, tmp_path: Path
) -> None:
    run, queue = RunDir(tmp_path / "runs" / "run"), tmp_path / "queue"
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/bash\necho "$@" >> {queue}\n')
    scontrol.chmod(0o755)
    prefix = Path(sys.executable).parents[1]
    job = {
        "CONFIG": str(written),
        "RUN": str(run.path),
        "ENVIRONMENT": str(prefix),
        "SLURM_JOB_ID": "7",
        "PATH": f"{scontrol.parent}:{os.environ['PATH']}",
    }
    script = ["bash", str(CLUSTERS / "slurm.sbatch")]
    with subprocess.Popen(script, env=environment(**job), cwd=ROOT) as first:
        until(is_under_way(run), "training", seconds=240)
        first.send_signal(signal.SIGUSR1)
        assert first.wait(timeout=240) == 0
    assert queue.read_text() == "requeue 7\n"
    assert max(steps_in(run.checkpoints)) < TRAIN["max_train_steps"]
    again = subprocess.run(script, env=environment(**job), cwd=ROOT, check=False, timeout=400)
    assert again.returncode == 0
    assert queue.read_text() == "requeue 7\n", "a run that is complete is not queued again"
    is_like_one_that_nobody_interrupted(run, config, warm, tmp_path / "alone")
