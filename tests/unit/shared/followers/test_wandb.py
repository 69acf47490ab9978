"""W&B offline: what lies in the run folder for `wandb sync`, read back from W&B's own file."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
import wandb
from PIL import Image
from wandb.proto import wandb_internal_pb2

from examples.fake_run.history import write_history
from examples.fake_run.run import FakeRun, create
from shared.errors import ConfigError
from shared.followers import trackers
from shared.followers.follower import Follower
from shared.followers.trackers.wandb import WeightsAndBiases
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows

STEPS = 20


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> tuple[FakeRun, list[Any]]:
    """Twice: the second start repeats nothing."""
    fake = create(tmp_path_factory.mktemp("runs") / "kimono", steps=STEPS, snapshot_steps=10)
    write_history(fake)
    Image.new("RGB", (30, 20)).save(fake.run.evaluation(0) / "sheet.webp")
    own = {"train/loss": "train_loss"}
    fake.run.read_record().model_copy(update={"tracker_names": own}).write(fake.run.record)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("WANDB_MODE", "offline")
        for _ in range(2):
            with hold_role(fake.run, "tracker", "wandb") as status:
                assert Follower(fake.run, "wandb", trackers.create("wandb"), status, 0.01, 0.01).follow()
    return fake, [record for path in _files(fake.run) for record in _records(path)]


def _files(run: RunDir) -> list[Path]:
    return sorted(run.tracker("wandb").glob("wandb/offline-run-*/*.wandb"))


def _records(path: Path) -> list[Any]:
    """Of a log in LevelDB's format: blocks of 32 KiB; a record has checksum, length, and 1 where it is whole, or 2 at
    its beginning, 3 within it and 4 at its end. Seven bytes that say what the file is come first."""
    data, place, part, found = path.read_bytes(), 7, b"", list[Any]()
    assert data[:4] == b":W&B"
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        part += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            found.append(record)
            part = b""
    return found


def history(records: list[Any]) -> list[dict[str, Any]]:
    """Every logged row."""
    return [
        {(item.key or "/".join(item.nested_key)): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]


def test_every_number_is_there_once_with_the_step_of_its_table(delivered: tuple[FakeRun, list[Any]]) -> None:
    fake, records = delivered
    rows = history(records)
    finite = [int(row["step"]) for row in read_rows(fake.run.train_csv) if math.isfinite(float(row["loss"]))]
    assert [row["train/step"] for row in rows if "train_loss" in row] == finite
    evaluated = {
        int(row["step"]): float(row["composite"]) for row in read_rows(fake.run.metrics_csv) if row["composite"]
    }
    assert {row["metrics/step"]: row["metrics/composite"] for row in rows if "metrics/composite" in row} == evaluated
    assert len([row for row in rows if "metrics/composite_low" in row]) == len(evaluated)


def test_each_curve_is_drawn_over_its_tables_steps(delivered: tuple[FakeRun, list[Any]]) -> None:
    metrics = [record.metric for record in delivered[1] if record.WhichOneof("record_type") == "metric"]
    assert "train/step" in {metric.step_metric for metric in metrics if metric.name == "train_loss"}
    assert "metrics/step" in {metric.step_metric for metric in metrics if metric.glob_name == "metrics/*"}


def test_pictures_verdict_and_model_are_there(delivered: tuple[FakeRun, list[Any]]) -> None:
    fake, records = delivered
    rows = history(records)
    assert [row["pictures/step"] for row in rows if any(name.startswith("pictures/samples") for name in row)] == [0]
    assert [row["pictures/step"] for row in rows if any(name.startswith("pictures/comparison") for name in row)] == [
        STEPS
    ]
    runs = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    best = fake.run.read_best()
    assert best
    assert {run.run_id for run in runs} == {fake.run.read_record().run_id}
    assert any(best.reason in run.notes for run in runs)
    assert any("better than base: yes" in run.tags for run in runs)
    assert "train" in {item.key for run in runs for item in run.config.update}
    artifacts = [
        record.request.log_artifact.artifact if record.WhichOneof("record_type") == "request" else record.artifact
        for record in records
        if record.WhichOneof("record_type") == "artifact"
    ]
    (model,) = artifacts
    assert model.type == "model"
    assert best.reason in model.description


@pytest.mark.parametrize(
    "error",
    [
        wandb.errors.UsageError("no API key configured"),
        wandb.errors.CommError('Failed to get resume status for run 91571a: returned error 401: {"data":null}'),
    ],
)
def test_nobody_logged_in_and_a_wrong_key_are_final_and_name_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(**options: object) -> None:
        raise error

    monkeypatch.setattr(wandb, "init", refuse)
    fake = create(tmp_path / "kimono", steps=4, snapshot_steps=2)
    with pytest.raises(ConfigError, match="Weights & Biases refuses this run") as raised:
        WeightsAndBiases().begin(fake.run, fake.config)
    assert "wandb login" in str(raised.value.hint)


def test_a_server_out_of_reach_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**options: object) -> None:
        raise wandb.errors.CommError('while retrying: Post "http://127.0.0.1:9/graphql": connection refused')

    monkeypatch.setattr(wandb, "init", fail)
    fake = create(tmp_path / "kimono", steps=4, snapshot_steps=2)
    with pytest.raises(wandb.errors.CommError):
        WeightsAndBiases().begin(fake.run, fake.config)
