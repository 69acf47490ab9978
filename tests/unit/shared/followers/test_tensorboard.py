"""TensorBoard's files, read back with TensorBoard's own reader."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from examples.fake_run.history import write_history
from examples.fake_run.run import FakeRun, create
from shared.followers import trackers
from shared.followers.follower import Follower
from shared.followers.tracker import Row
from shared.followers.trackers.tensorboard import TensorBoard
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows

UNLIMITED = {"scalars": 0, "images": 0, "tensors": 0}
STEPS = 40


def make(path: Path) -> FakeRun:
    fake = create(path, steps=STEPS, snapshot_steps=10)
    write_history(fake)
    for step in (0, 20):
        Image.new("RGB", (30, 20), (step, 9, 9)).save(fake.run.evaluation(step) / "sheet.webp")
    return fake


def follow(run: RunDir) -> None:
    with hold_role(run, "tracker", "tensorboard") as status:
        assert Follower(run, "tensorboard", trackers.create("tensorboard"), status, 0.01, 0.01).follow()


def read(run: RunDir) -> EventAccumulator:
    return EventAccumulator(str(run.tracker("tensorboard")), size_guidance=UNLIMITED).Reload()


def points(found: EventAccumulator) -> dict[str, list[tuple[int, float]]]:
    """Every scalar: tag → step and value, NaN as text."""
    return {
        tag: [(event.step, "nan" if math.isnan(event.value) else event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def text(found: EventAccumulator, tag: str) -> str:
    return found.Tensors(tag)[-1].tensor_proto.string_val[0].decode()


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> tuple[FakeRun, EventAccumulator]:
    fake = make(tmp_path_factory.mktemp("runs") / "kimono")
    follow(fake.run)
    return fake, read(fake.run)


def test_every_number_of_every_table_is_read_back_at_its_step(delivered: tuple[FakeRun, EventAccumulator]) -> None:
    fake, found = delivered
    read_back = points(found)
    assert [step for step, _ in read_back["train/loss"]] == list(range(1, STEPS + 1))
    rows = {int(row["step"]): row for row in read_rows(fake.run.metrics_csv)}
    for tag, column in {"metrics/composite": "composite", "metrics/clip_t_delta_low": "clip_t_low"}.items():
        expected = {step: float(row[column]) for step, row in rows.items() if row[column]}
        assert dict(read_back[tag]) == pytest.approx(expected, rel=1e-6), tag
    held_out = {int(row["step"]): float(row["held_out_loss"]) for row in read_rows(fake.run.validation_csv)}
    assert dict(read_back["validation/held_out_loss"]) == pytest.approx(held_out, rel=1e-6)


def test_pictures_settings_verdict_and_card_are_read_back(delivered: tuple[FakeRun, EventAccumulator]) -> None:
    fake, found = delivered
    sheets = found.Images("samples")
    assert [(image.step, image.width, image.height) for image in sheets] == [(0, 30, 20), (20, 30, 20)]
    assert [image.step for image in found.Images("comparison")] == [STEPS]
    best = fake.run.read_best()
    assert best
    assert "max_train_steps = 40" in text(found, "config")
    assert best.reason in text(found, "verdict")
    assert f"snapshots/step-{best.step:08d}" in text(found, "model card")
    hparams = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"train.max_train_steps" in hparams


def test_numbers_with_an_interval_have_a_chart_with_margins(delivered: tuple[FakeRun, EventAccumulator]) -> None:
    found = delivered[1]
    proto = found.Tensors("custom_scalars__config__")[0].tensor_proto
    (category,) = layout_pb2.Layout.FromString(proto.string_val[0]).category
    drawn: Sequence[Any] = [chart.margin.series[0] for chart in category.chart]
    shown = points(found)
    assert drawn[0].value == "metrics/composite"
    for series in drawn:
        assert {series.value, series.lower, series.upper} <= set(shown), series


def test_what_was_written_before_a_kill_is_not_written_again(tmp_path: Path) -> None:
    """The worst moment: after the call, before `tensorboard.json` says so. Here for every call at once."""
    fake = make(tmp_path / "kimono")
    follow(fake.run)
    before = points(read(fake.run))
    fake.run.tracker("tensorboard").with_suffix(".json").unlink()
    follow(fake.run)
    found = read(fake.run)
    assert points(found) == before
    assert [image.step for image in found.Images("samples")] == [0, 20]
    assert len(found.Tensors("config")) == len(found.Tensors("verdict")) == 1


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = create(tmp_path / "kimono", steps=4, snapshot_steps=2)
    tracker = TensorBoard()
    tracker.begin(fake.run, fake.config)
    tracker.rows("train", [Row(1, 5.0, {"train/loss": 0.25}, {})])
    (path,) = fake.run.tracker("tensorboard").iterdir()
    size = path.stat().st_size

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            tracker.rows("train", [Row(2, 6.0, {"train/loss": 0.125}, {})])
    assert path.stat().st_size == size
    tracker.begin(fake.run, fake.config)
    tracker.rows("train", [Row(2, 6.0, {"train/loss": 0.125}, {})])
    assert points(read(fake.run))["train/loss"] == [(1, 0.25), (2, 0.125)]
