"""Run folders that an earlier version wrote, as they lie in tests/golden: they open, resume and show."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from dashboard import report
from dashboard.data.reader import RunReader
from evaluator.replay import replay
from run import app
from shared.run_folder.averages import averaged
from shared.run_folder.notes import read_notes
from shared.run_folder.run_dir import RunDir, open_run, steps_in
from shared.run_folder.tables import read_rows
from tests.conftest import ROOT, Warm, check, notes
from tests.integration.conftest import steps_of
from tests.integration.evaluation.test_evaluation import JOINT

GOLDEN = ROOT / "tests" / "golden"
PAGES = ("overview", "samples", "snapshots", "compare", "logs", "settings", "system")
PROMPT = "a kimono in red, tartan, on a beach"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data set, the config and both run folders, moved to a place of the test's own."""
    shutil.copytree(GOLDEN, tmp_path / "golden")
    for claim in (tmp_path / "golden" / "folders").glob("*/.claims/*.json"):
        os.utime(claim, (0, 0))  # the checkout is of today, the claim is not
    return tmp_path / "golden"


@pytest.fixture
def finished(folder: Path) -> RunDir:
    return open_run(folder / "folders" / "finished")


def written(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def command(*arguments: object) -> str:
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_finished_run_is_whole(finished: RunDir) -> None:
    assert command("check", finished.path).startswith(f"{finished.path} is whole")
    (data_set_is_elsewhere,) = notes(finished)
    assert f"the data set of {finished.path} is not at /golden/garments" in data_set_is_elsewhere


def test_a_best_json_unlike_the_verdict_is_noted(finished: RunDir) -> None:
    cure = f"; `python run.py verdict {finished.path} --write` writes it again"
    assert f"note: best.json names step 20, the verdict is step 40{cure}" in command("check", finished.path)
    finished.best.unlink()
    assert f"note: best.json is missing, the verdict is step 40{cure}" in command("check", finished.path)


def test_a_finished_run_says_what_its_files_say(finished: RunDir) -> None:
    best, as_written = finished.read_best(), written(finished.best)
    assert best
    assert (best.step, best.reason) == (as_written["step"], as_written["reason"])
    assert {name: delta.delta for name, delta in best.deltas.items()} == {
        name: delta["delta"] for name, delta in as_written["deltas"].items()
    }
    assert best.confirmation
    assert best.confirmation.finalists == (20, 40)
    rows = {int(row["step"]): row for row in read_rows(finished.metrics_csv)}
    status = {0: "ok", 10: "skipped", 20: "ok", 30: "skipped", 40: "ok"}
    assert {step: row["status"] for step, row in rows.items()} == status
    for step in steps_in(finished.evaluations):
        result, as_written = finished.read_result(step), written(finished.evaluation(step) / "result.json")
        assert result
        assert result.status == status[step]
        assert result.missing == as_written["blanks"], "this version's name of the field"
        assert [sample.metrics for sample in result.samples] == [it["metrics"] for it in as_written["samples"]]
    assert finished.read_result(20).missing.keys() == {"seed_distance"}  # type: ignore[union-attr]
    assert read_notes(finished).texts == {20: "the sash is right"}


def test_a_finished_run_has_nothing_left_to_do_and_keeps_its_files(finished: RunDir, warm: Warm) -> None:
    before, best = contents(finished), written(finished.best)
    table = read_rows(finished.metrics_csv)
    assert warm.start("evaluator", finished.path, "--once").wait() == 3, "everything is evaluated"
    assert contents(finished) == before
    for row, newer in zip(table, read_rows(finished.metrics_csv), strict=True):
        same = {column: cell for column, cell in row.items() if not JOINT.search(column)}
        assert {column: as_number(newer[column]) for column in same} == {
            column: pytest.approx(as_number(cell)) for column, cell in same.items()
        }
    again = written(finished.best)
    assert again.keys() >= best.keys()
    for key in ("schema", "num_evaluated", "anchors", "latest_step", "finalists"):
        assert again[key] == best[key], "what it is chosen from; how is this version's"


def as_number(cell: str) -> float | str:
    """What a cell of a table says."""
    try:
        return float(cell)
    except ValueError:
        return cell


def contents(run: RunDir) -> dict[Path, bytes]:
    """Every file but what programs say of themselves, and the two that are derived anew from the others."""
    files = (path for path in run.path.rglob("*") if path.is_file() and not path.name.startswith("."))
    left_out = {run.processes, run.logs, run.best, run.metrics_csv}
    return {path: path.read_bytes() for path in files if not left_out & {path, path.parent}}


def test_a_killed_run_goes_on_from_where_the_data_set_lies_by_now_and_ends_like_the_finished_one(
    folder: Path, finished: RunDir, warm: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(folder / "folders" / "interrupted")
    assert steps_of(run.train_csv)[-1] == 25
    assert steps_in(run.checkpoints) == {20}
    monkeypatch.chdir(folder)
    fewer = ("evaluation.strengths=[0.6]", "--allow-change", "evaluation.strengths")
    said = command("train", "dress.toml", "run.name=interrupted", *fewer, "--create-only")
    assert "data.path was /golden/garments, is " in said
    program = warm.run("trainer", run.path)
    assert "resuming after step 20" in program.stderr()
    warm.run("evaluator", run.path, "--once")
    assert check(run) == []

    assert steps_of(run.train_csv) == list(range(1, 41))
    for column in ("loss", "grad_norm", "learning_rate"):
        assert column_of(run.train_csv, column) == pytest.approx(column_of(finished.train_csv, column), rel=0.01)
    for column in ("held_out_loss", "gap"):
        assert column_of(run.validation_csv, column) == pytest.approx(
            column_of(finished.validation_csv, column), rel=0.01
        )
    assert steps_of(run.metrics_csv) == [0, 10, 20, 30, 40]
    for column in ("visual_loss", "fashion_clip_loss", "clip_t"):
        assert column_of(run.metrics_csv, column) == pytest.approx(column_of(finished.metrics_csv, column), abs=0.02)
    best = run.read_best()
    assert best
    assert best.not_counted == ("color_loss",)  # this version computes it in another way than the run began with
    rest = replay(finished, weights={"color_loss": 0}).snapshots
    expected = [snapshot.composite.delta for snapshot in rest if snapshot.composite and snapshot.step]
    composites = [value for value in column_of(run.metrics_csv, "composite") if value]
    assert composites == pytest.approx(expected, abs=0.05)
    assert best.confirmation
    assert best.confirmation.finalists == (20, 40, averaged(20, 40)), "this version adds what follows training"
    assert best.strength


def column_of(path: Path, column: str) -> list[float]:
    """Its numbers, where there are some."""
    return [float(row[column]) for row in read_rows(path) if row[column]]


@pytest.mark.parametrize("name", PAGES)
def test_the_dashboard_shows_a_finished_run(finished: RunDir, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(finished.path.with_name("interrupted"))
    monkeypatch.setenv("DARKROOM_RUNS", str(finished.path.parent))
    monkeypatch.delenv("DARKROOM_RUN", raising=False)
    page = AppTest.from_file(str(ROOT / "dashboard" / "shell.py"), default_timeout=60).run()
    if name != "overview":
        page.switch_page(str(ROOT / "dashboard" / "views" / f"{name}.py")).run()
    assert not page.exception
    drawn = [element.proto.component_name for element in page.get("bidi_component")]
    assert "darkroom_bar" in drawn, "it and the first screen ask for the rest: tests/dashboard/story"
    assert "Nothing to show" not in [info.value for info in page.info]


def test_a_finished_run_has_a_report_with_its_pictures(finished: RunDir) -> None:
    text = report.render(RunReader(finished, finished.read_record().run_id))
    data = json.loads(re.search(r"^const data = (.*)$", text, re.MULTILINE)[1])  # type: ignore[index]
    drawn = data["wall"]["inlined"]["drawn"]
    assert {"0", "20", "40"} <= drawn.keys()
    pictures = data["wall"]["inlined"]["pictures"]
    assert {"references/kimono-001.png", "evaluations/step-00000040/images/000-seed-1234.png"} <= pictures.keys()
    assert "Step 20 is one of 2 snapshots." in text


def test_pictures_drawn_with_a_persons_own_prompt_are_still_there(finished: RunDir) -> None:
    (folder,) = finished.requested.glob("*/step-00000020")
    result = finished.read_result(20, f"requested/{folder.parent.name}")
    assert result
    assert [sample.prompt for sample in result.samples] == [PROMPT]
    assert Image.open(folder / "images" / result.samples[0].image).size == (64, 64)
