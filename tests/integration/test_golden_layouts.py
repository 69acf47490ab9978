"""Run folders by the code of earlier days, one for each layout since 0.1.0: they open, show and resume."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from dashboard import report
from dashboard.data.reader import RunReader
from evaluator.replay import replay
from run import app
from shared.run_folder import checkpoints, pending
from shared.run_folder.run_dir import RunDir, open_run, steps_in
from shared.run_folder.tables import read_rows
from tests.conftest import ROOT, Warm, check

LAYOUTS = {
    "b4410da0": frozenset({"metrics.json", "validation_examples.csv"}),
    "40a2a6ea": frozenset({"metrics.json", "validation_examples.csv", "averages", "strengths", "system.csv"}),
    "4209dc70": frozenset(
        {"metrics.json", "validation_examples.csv", "strengths", "system.csv", "dataset.csv", "deleted"}
    ),
}
"""Commit → what its layout has that 0.1.0 (`tests/golden/folders`) has not."""
NEW = frozenset(
    {"metrics.json", "validation_examples.csv", "averages", "strengths", "system.csv", "dataset.csv", "deleted"}
)
MAX_BYTES = 300 << 10


@pytest.fixture(params=LAYOUTS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunDir:
    source = ROOT / "tests" / "golden"
    shutil.copytree(source / "garments", tmp_path / "garments")
    return open_run(Path(shutil.copytree(source / "layouts" / request.param, tmp_path / "folders" / request.param)))


def command(*arguments: object) -> str:
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def test_it_is_small_has_its_layout_and_holds_no_pickle(run: RunDir) -> None:
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MAX_BYTES
    assert {path.name for path in run.path.iterdir()} & NEW == LAYOUTS[run.path.name]
    assert {path.suffix for path in files} <= {".json", ".csv", ".toml", ".png", ".webp", ".safetensors"}


def test_it_is_whole_and_has_a_verdict_whose_weights_are_there(run: RunDir) -> None:
    assert [problem for problem in check(run) if "data set" not in problem] == []
    best, again = run.read_best(), replay(run).best
    assert best
    assert again
    assert best.reason == json.loads(run.best.read_text(encoding="utf-8"))["reason"]
    for one in (best, again):
        assert run.snapshot(one.step).is_dir()
    assert steps_in(run.evaluations) >= {0, *run.published_snapshots(), *run.deleted_snapshots()}
    assert len(read_rows(run.metrics_csv)) >= 3
    assert pending.unevaluated(run) == set()


@pytest.mark.parametrize("name", ["overview", "snapshots"])
def test_its_pages_show_it(run: RunDir, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_RUNS", str(run.path.parent))
    monkeypatch.delenv("DARKROOM_RUN", raising=False)
    page = AppTest.from_file(str(ROOT / "dashboard" / "shell.py"), default_timeout=60).run()
    if name != "overview":
        page.switch_page(str(ROOT / "dashboard" / "views" / f"{name}.py")).run()
    assert not page.exception


def test_its_report_has_its_pictures(run: RunDir) -> None:
    text = report.render(RunReader(run, run.read_record().run_id))
    data = json.loads(re.search(r"^const data = (.*)$", text, re.MULTILINE)[1])  # type: ignore[index]
    assert {"0", "8"} <= data["wall"]["inlined"]["drawn"].keys()
    assert all(url.startswith("data:image/webp") for url in data["wall"]["inlined"]["pictures"].values())
    assert ("Weights deleted" in text) == ("deleted" in LAYOUTS[run.path.name])


def longer(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> str:
    """The run's own settings with two more steps, where the data set lies by now."""
    folder = run.path.parents[1]
    monkeypatch.chdir(folder)
    changes = ["train.max_train_steps=10", "data.path=garments", "run.output_dir=folders"]
    allowed = ["--allow-change", "train.max_train_steps", "--allow-change", "data.path"]
    return command("train", run.config, f"run.name={run.path.name}", *changes, *allowed, "--create-only")


def test_it_is_taken_up_with_more_steps(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "data.path was /golden/garments, is " in longer(run, monkeypatch)
    assert run.read_config().train.max_train_steps == 10
    assert checkpoints.newest_whole(run) == 8


@pytest.mark.slow
def test_it_trains_on_and_is_evaluated(run: RunDir, warm: Warm, monkeypatch: pytest.MonkeyPatch) -> None:
    longer(run, monkeypatch)
    assert "resuming after step 8" in warm.run("trainer", run.path).stderr()
    warm.run("evaluator", run.path, "--once")
    assert [int(row["step"]) for row in read_rows(run.train_csv)] == list(range(1, 11))
    assert 10 in steps_in(run.evaluations)
    assert check(run) == []


def test_a_later_major_version_is_refused_with_the_cure(run: RunDir) -> None:
    tree = json.loads(run.record.read_text(encoding="utf-8"))
    run.record.write_text(json.dumps(tree | {"schema": "2.0"}), encoding="utf-8")
    done = CliRunner().invoke(app, ["check", str(run.path)])
    assert done.exit_code == 2
    assert "upgrade Darkroom" in done.output
