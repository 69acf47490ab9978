"""What is handed to TensorBoard's writer; a stand-in takes its place, because the package is optional."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from examples.fake_run.run import create
from shared.followers.tracker import Row
from shared.followers.trackers.tensorboard import TensorBoard
from shared.run_folder.records.best import Best

MODULES = {
    "tensorboard.summary.writer.event_file_writer": "EventFileWriter",
    "tensorboard.compat.proto.event_pb2": "Event",
    "tensorboard.compat.proto.summary_pb2": "Summary",
    "tensorboard.plugins.text.summary_v2": "text_pb",
}


class Writer:
    def __init__(self, logdir: str) -> None:
        self.logdir, self.events, self.flushed, self.closed = logdir, list[Any](), 0, False

    def add_event(self, event: object) -> None:
        self.events.append(event)

    def flush(self) -> None:
        self.flushed = len(self.events)

    def close(self) -> None:
        self.closed = True


class Summary(SimpleNamespace):
    Value = SimpleNamespace
    Image = SimpleNamespace


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TensorBoard:
    stand_ins = {
        "EventFileWriter": Writer,
        "Event": SimpleNamespace,
        "Summary": Summary,
        "text_pb": lambda tag, text: SimpleNamespace(tag=tag, text=text),
    }
    for module, name in MODULES.items():
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            parent = ".".join(parts[:end])
            monkeypatch.setitem(sys.modules, parent, sys.modules.get(parent) or ModuleType(parent))
        monkeypatch.setattr(sys.modules[module], name, stand_ins[name], raising=False)
    fake = create(tmp_path / "kimono", steps=4, snapshot_steps=2)
    made = TensorBoard()
    made.begin(fake.run, fake.config)
    assert made._writer.logdir == str(fake.run.path / "trackers" / "tensorboard")
    return made


def test_the_settings_come_first_and_every_call_is_on_disk_when_it_returns(tracker: TensorBoard) -> None:
    (settings,) = tracker._writer.events
    assert settings.summary.tag == "config"
    assert "max_train_steps = 4" in settings.summary.text
    assert tracker._writer.flushed == 1
    tracker.end(0)
    assert tracker._writer.closed


def test_numbers_become_scalars_named_by_table_and_column(tracker: TensorBoard) -> None:
    tracker.rows("metrics", [Row(10, 5.0, {"clip_t": 0.25, "drift": 0.5}, {"status": "ok"}), Row(20, 6.0, {}, {})])
    first, second = tracker._writer.events[1:]
    assert (first.step, first.wall_time, second.step) == (10, 5.0, 20)
    assert {value.tag: value.simple_value for value in first.summary.value} == {
        "metrics/clip_t": 0.25,
        "metrics/drift": 0.5,
    }
    assert tracker._writer.flushed == 3


def test_a_contact_sheet_becomes_an_image_and_a_verdict_a_text(tracker: TensorBoard, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "sheet.webp")
    tracker.sheet(10, tmp_path / "sheet.webp")
    tracker.best(Best(step=10, snapshot="", reason="lowest composite", better_than_base=True, num_evaluated=1))
    sheet, best = tracker._writer.events[1:]
    image = sheet.summary.value[0].image
    assert (image.width, image.height, image.encoded_image_string[:2]) == (30, 20, b"\xff\xd8")
    assert (best.step, best.summary.text) == (10, "lowest composite")
