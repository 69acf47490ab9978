"""A run in Aim, read back by Aim. Runs where Aim is installed for trackers; nothing installs it for the tests."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.fake_run.history import write_history
from examples.fake_run.run import create
from shared.followers import environments, trackers
from shared.run_folder.tables import read_rows
from tests.conftest import ROOT, environment

STEPS = 20
LOOK = """
import json, sys
from aim import Repo, Run
repo, found = Repo.from_path(sys.argv[1]), {}
for hash in repo.list_all_runs():
    run = Run(hash, repo=repo, force_resume=True, system_tracking_interval=None, capture_terminal_logs=False)
    metrics = {(name, context): run.get_metric(name, context) for name, context, _ in run.iter_metrics_info()}
    found[run.hash] = {
        "name": run.name, "experiment": run.experiment, "description": run.description, "tags": sorted(run.tags),
        "steps": {
            f"{context.to_dict().get('subset')} {name}": sorted(map(int, metric.data.items_list()[0]))
            for (name, context), metric in metrics.items() if metric
        },
        "max_train_steps": run["train"]["max_train_steps"],
    }
print(json.dumps(found))
"""

pytestmark = pytest.mark.skipif(environments.missing("aim") is not None, reason="Aim is not installed for trackers")


def test_a_run_is_there_once_with_its_numbers_and_verdict(tmp_path: Path) -> None:
    fake = create(tmp_path / "runs" / "kimono", steps=STEPS, snapshot_steps=10)
    write_history(fake)
    Image.new("RGB", (30, 20)).save(fake.run.evaluation(0) / "sheet.webp")
    repository = tmp_path / "repository"
    repository.mkdir()
    command = trackers.command("aim", fake.run.path, "aim")
    for _ in range(2):  # the second time as after a kill before `aim.json` was written
        subprocess.run(command, cwd=ROOT, env=environment(AIM_REPO=str(repository)), check=True, timeout=300)
        fake.run.tracker("aim").with_suffix(".json").unlink()
    done = subprocess.run([command[0], "-I", "-c", LOOK, str(repository)], capture_output=True, text=True, check=True)
    (found,) = json.loads(done.stdout.splitlines()[-1]).values()
    told: dict[str, Any] = found
    best = fake.run.read_best()
    assert best
    assert (told["name"], told["experiment"], told["max_train_steps"]) == ("kimono", "darkroom", STEPS)
    assert best.reason in told["description"]
    assert told["tags"] == ["advice: advise", "better than base: yes"]
    steps = told["steps"]
    assert steps["train loss"] == list(range(1, STEPS + 1))
    evaluated = [int(row["step"]) for row in read_rows(fake.run.metrics_csv) if row["composite"]]
    assert steps["metrics composite"] == steps["metrics composite_low"] == evaluated
