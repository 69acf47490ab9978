"""The page of a run whose LoRAs another program trains: nothing on it awaits or blames a trainer of ours."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dashboard.charts.axis import Look
from dashboard.data.comparison import differs, flatten
from dashboard.data.reader import RunReader
from dashboard.panels.curves import axes_of
from dashboard.panels.settings import settings_data, toml
from dashboard.report import settings
from dashboard.story.cards import _values
from dashboard.story.curves import training_chart
from dashboard.story.screen import screen
from dashboard.text import language
from evaluator.results_table import ResultsTable
from examples.fake_run.run import FakeRun
from shared.files.publication import MANIFEST, read_manifest
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.known_settings import OF_TRAINING
from shared.run_folder.records.run_record import Imported
from shared.run_folder.run_dir import RunDir
from tests.dashboard.story.conftest import Show


def imported(fake: FakeRun, folder: Path) -> RunDir:
    """As if its snapshots had come from elsewhere."""
    shutil.copytree(fake.run.path, folder, ignore=shutil.ignore_patterns("*.tmp", "trainer.*", "train.csv", ".claims"))
    run = RunDir(folder)
    (run.processes / "evaluator.json").unlink(missing_ok=True)
    for table in (run.train_csv, run.validation_csv):
        table.unlink(missing_ok=True)
    run.read_record().model_copy(update={"imported": Imported(folder="/loras/dress")}).write(run.record)
    return run


@pytest.fixture
def finished(states: dict[str, FakeRun], tmp_path: Path) -> RunDir:
    return imported(states["finished"], tmp_path / "finished")


def test_a_finished_one_is_evaluated_and_has_a_verdict_without_cures_for_training(finished: RunDir, show: Show) -> None:
    shown = show(finished)
    assert shown.status.parts == ("Evaluated",)
    assert shown.status.share == 1.0
    assert not any(shown.status.can.__dict__.values())
    assert shown.verdict.headline.startswith("Ship step")
    assert not any("Not checked for gap" in caution for caution in shown.verdict.cautions)


@pytest.mark.parametrize(
    ("code", "headline", "step"),
    [("en", " epoch ", r"\b[Ss]teps?\b"), ("zh-Hant", "輪", "步"), ("zh-Hans", "轮", "步")],
)
def test_one_that_is_counted_in_epochs_speaks_of_epochs(finished: RunDir, code: str, headline: str, step: str) -> None:
    record = finished.read_record()
    record.model_copy(update={"imported": Imported(folder="/loras", unit="epoch")}).write(finished.record)
    ResultsTable(finished).rebuild()
    reader = RunReader(finished, record.run_id)
    try:
        language.use(code)
        language.count_in(reader.unit)
        shown = screen(reader, datetime.now(UTC), UTC)
    finally:
        language.use("en")
    assert headline in shown.verdict.headline
    assert "epoch" not in axes_of(reader), "its steps are epochs already"
    parts = [shown.verdict, shown.status, shown.pictures, *shown.strip]
    told = json.dumps([asdict(part) for part in parts], ensure_ascii=False)
    assert not re.findall(f'.{{9}}(?:{step})[^-_"].{{9}}', told)


def test_of_its_training_only_what_the_files_tell_is_shown(finished: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = RunReader(finished, finished.read_record().run_id)
    step = max(reader.snapshot_steps())
    manifest = read_manifest(finished.snapshot(step))
    assert manifest
    details = {"file": "dress.safetensors", "rank": 8, "set_learning_rate": 0.0005, "base_model": "sd-v1-5"}
    manifest.model_copy(update={"details": details}).write(finished.snapshot(step) / MANIFEST)
    known = flatten(reader.known_settings)
    training = {key: value for key, value in known.items() if key.partition(".")[0] in ("lora", "train", "stop")}
    assert training == {"lora.rank": 8, "train.learning_rate": 0.0005}
    assert known["imported.base_model"] == "sd-v1-5"
    assert not OF_TRAINING & known.keys()
    report, table = settings(reader), settings_data(reader)["blocks"]
    assert "<td>lora.rank</td><td>8</td>" in report
    ours = ("max_train_steps", "lora_alpha", "target_modules", "caption_dropout")
    for told in (report, json.dumps(table), toml(reader)):
        assert not any(name in told for name in ours)
    rank = next(row for row in map(str, table[-1]["rows"]) if "lora.rank" in row)
    assert "16" not in rank, "our default is none of that program's"
    monkeypatch.setattr("dashboard.story.cards.num_prompts", lambda reader: 4)
    values = _values(reader)
    assert values["lora.rank"] == "8"
    assert values["imported.folder"] == "/loras/dress"
    assert not any(name in key for key in values for name in ours)
    own = {"lora.rank": "16", "train.max_train_steps": "600", "data.resolution": "512"}
    told = [key for key in {**own, **values} if differs(key, [own, {**values, "data.resolution": "512"}])]
    assert {"lora.rank", "imported.folder"} <= {*told}
    assert not {"train.max_train_steps", "data.resolution"} & {*told}, "what is not known is no difference"


def test_while_loras_are_awaited_it_says_so(finished: RunDir, show: Show) -> None:
    with hold_role(finished, "importer") as status:
        status.update("idle", message="5 LoRAs taken")
        shown = show(finished)
        assert shown.live
        assert shown.status.parts[0] == "Waiting for LoRAs"
        status.notice("coat.safetensors is left out")
        assert any("coat.safetensors is left out" in alert.text for alert in show(finished).alerts)


def test_what_is_not_evaluated_yet_is_named(states: dict[str, FakeRun], show: Show, tmp_path: Path) -> None:
    run = imported(states["live"], tmp_path / "live")
    shown = show(run)
    assert shown.status.parts == ("not evaluated: 120, 80 (no evaluator is running)",)
    assert 0 < shown.status.share < 1


def test_there_are_no_training_curves_and_none_are_awaited(finished: RunDir) -> None:
    chart = training_chart(RunReader(finished, finished.read_record().run_id), Look(), "first")
    assert chart.figure is None
    assert chart.absent
    assert chart.absent.text == "Nothing to show: another program trains this LoRA."
    assert not chart.absent.awaited


def test_a_folder_without_a_lora_says_where_it_looks(states: dict[str, FakeRun], show: Show, tmp_path: Path) -> None:
    run = imported(states["empty"], tmp_path / "empty")
    assert show(run).verdict.sentence == "There was no LoRA yet in /loras/dress."
