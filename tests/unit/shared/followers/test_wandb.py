"""What is handed to W&B; a stand-in takes the package's place, because it is optional."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from examples.fake_run.run import create
from shared.errors import ConfigError
from shared.followers.tracker import Row
from shared.followers.trackers.wandb import WeightsAndBiases
from shared.run_folder.records.best import Best


class UsageError(Exception):
    pass


class FakeRun(SimpleNamespace):
    def log(self, values: dict[str, Any]) -> None:
        self.logged.append(values)

    def define_metric(self, name: str, **options: Any) -> None:
        self.metrics[name] = options

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Any:
    fake: Any = ModuleType("wandb")
    fake.errors = SimpleNamespace(UsageError=UsageError, AuthenticationError=UsageError)
    fake.Settings, fake.Image = SimpleNamespace, lambda picture, **options: (picture.mode, picture.size, options)
    fake.init = lambda **options: FakeRun(options=options, logged=[], metrics={}, summary={}, notes="", exit_code=None)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


@pytest.fixture
def tracker(package: Any, tmp_path: Path) -> WeightsAndBiases:
    fake = create(tmp_path / "kimono", steps=4, snapshot_steps=2)
    made = WeightsAndBiases()
    made.begin(fake.run, fake.config)
    assert made._run.options["id"] == fake.run.read_record().run_id
    assert made._run.options["config"]["train"]["max_train_steps"] == 4
    return made


def test_every_table_has_a_step_of_its_own_which_may_go_back(tracker: WeightsAndBiases) -> None:
    tracker.rows("metrics", [Row(20, 6.0, {"clip_t": 0.25}, {"status": "ok"}), Row(10, 5.0, {"clip_t": 0.5}, {})])
    assert tracker._run.metrics["metrics/*"] == {"step_metric": "metrics/step"}
    assert tracker._run.logged == [
        {"metrics/clip_t": 0.25, "metrics/step": 20},
        {"metrics/clip_t": 0.5, "metrics/step": 10},
    ]


def test_a_loss_that_is_not_finite_is_left_out(tracker: WeightsAndBiases) -> None:
    tracker.rows("train", [Row(1, 0.0, {"loss": math.nan, "lr": 0.1}, {})])
    assert tracker._run.logged == [{"train/lr": 0.1, "train/step": 1}]


def test_a_sheet_is_an_image_with_its_step_and_a_verdict_stands_in_summary_and_notes(
    tracker: WeightsAndBiases, tmp_path: Path
) -> None:
    Image.new("RGBA", (30, 20)).save(tmp_path / "sheet.webp")
    tracker.sheet(10, tmp_path / "sheet.webp")
    tracker.best(Best(step=10, snapshot="", reason="lowest composite", better_than_base=True, num_evaluated=1))
    (logged,) = tracker._run.logged
    assert logged["sheets/contact sheet"][:2] == ("RGB", (30, 20))
    assert tracker._run.summary == {"best/step": 10, "best/better_than_base": True}
    assert tracker._run.notes == "lowest composite"
    tracker.end(1)
    assert tracker._run.exit_code == 1


def test_nobody_logged_in_is_final_and_names_the_cure(package: Any, tmp_path: Path) -> None:
    def refuse(**options: object) -> None:
        raise UsageError("no API key configured")

    package.init = refuse
    fake = create(tmp_path / "kimono", steps=4, snapshot_steps=2)
    with pytest.raises(ConfigError, match="no API key") as raised:
        WeightsAndBiases().begin(fake.run, fake.config)
    assert "wandb login" in str(raised.value.hint)
