"""A run in trackio on this machine, read back from its database. `make trackers` makes what these tests need."""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.fake_run.history import write_history
from examples.fake_run.run import FakeRun, create
from shared.followers import environments, trackers
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows
from tests.conftest import ROOT, environment

STEPS = 20

pytestmark = [
    pytest.mark.skipif(environments.missing("trackio") is not None, reason="trackio is not installed: make trackers"),
    pytest.mark.timeout(900),
]


def follow(run: RunDir, place: Path) -> None:
    remote = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
    here = {name: value for name, value in environment(TRACKIO_DIR=str(place)).items() if name not in remote}
    command = trackers.command("trackio", run.path, "trackio")
    done = subprocess.run(command, cwd=ROOT, env=here, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> tuple[FakeRun, Path]:
    """Twice; the second time as after a kill before `trackio.json` was written."""
    place = tmp_path_factory.mktemp("trackio")
    fake = create(tmp_path_factory.mktemp("runs") / "kimono", steps=STEPS, snapshot_steps=10)
    write_history(fake)
    Image.new("RGB", (30, 20)).save(fake.run.evaluation(0) / "sheet.webp")
    follow(fake.run, place)
    fake.run.tracker("trackio").with_suffix(".json").unlink()
    follow(fake.run, place)
    return fake, place


def query(place: Path, sql: str) -> list[Any]:
    with sqlite3.connect(place / "darkroom.db") as database:
        return database.execute(sql).fetchall()


def points(place: Path) -> dict[str, list[tuple[int, Any]]]:
    """Everything logged, also what is there twice: name → step and value."""
    found: dict[str, list[tuple[int, Any]]] = {}
    for step, text in query(place, "select step, metrics from metrics order by id"):
        for name, value in json.loads(text).items():
            found.setdefault(name, []).append((step, value))
    return found


def test_every_number_is_there_once(delivered: tuple[FakeRun, Path]) -> None:
    fake, place = delivered
    found = points(place)
    for name, path, column in (
        ("train/loss", fake.run.train_csv, "loss"),
        ("metrics/composite", fake.run.metrics_csv, "composite"),
        ("metrics/clip_t_delta_low", fake.run.metrics_csv, "clip_t_low"),
    ):
        expected = {int(row["step"]): float(row[column]) for row in read_rows(path) if row[column]}
        assert len(found[name]) == len(expected), name
        told = {step: float(value) for step, value in found[name]}
        assert {step: value for step, value in told.items() if math.isfinite(value)} == expected, name


def test_pictures_verdict_settings_and_model_are_there_once(delivered: tuple[FakeRun, Path]) -> None:
    fake, place = delivered
    best = fake.run.read_best()
    assert best
    found = points(place)
    assert [step for step, _ in found["pictures/samples"]] == [0]
    assert [step for step, _ in found["pictures/comparison"]] == [STEPS]
    (verdict,), (settings,) = found["verdict"], found["settings"]
    assert best.reason in verdict[1]["_value"]
    assert f"max_train_steps = {STEPS}" in settings[1]["_value"]
    assert len(list((place / "media").rglob("*.png"))) == 2
    (config,) = query(place, "select config from configs")
    told = json.loads(config[0])
    assert (told["train.max_train_steps"], told["verdict.best_step"]) == (STEPS, str(best.step))
    (artifact,) = query(place, "select type, description from artifacts")
    assert artifact[0] == "model"
    assert best.reason in artifact[1]
    assert len(query(place, "select id from artifact_versions")) == 1
