"""Evaluation on the tiny model: repeatable, true in plain diffusers, and undisturbed by a broken snapshot."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from shared.errors import RunFolderError
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.run_dir import RunDir, open_run
from shared.run_folder.tables import read_rows, write_rows
from tasks.text_to_image.evaluation import references
from tests.conftest import ROOT, Warm, adopt_places, create_run, environment, tiny_config
from tests.integration.conftest import copy_of

TIMES = {"timestamp", "evaluation_seconds"}
JOINT = re.compile(r"_low$|_high$|^sure$")
"""Columns of intervals, and what they say."""


def copy_unevaluated(finished: RunDir, folder: Path) -> RunDir:
    """The finished run as it was before anything was evaluated."""
    run = RunDir(folder / "copy")
    shutil.copytree(finished.path, run.path)
    for path in (run.metrics_csv, run.best):
        path.unlink()
    shutil.rmtree(run.evaluations)
    run.evaluations.mkdir()
    return run


def rows(run: RunDir) -> dict[str, dict[str, str]]:
    return {
        row["step"]: {column: value for column, value in row.items() if column not in TIMES}
        for row in read_rows(run.metrics_csv)
    }


def apart(table: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Without what holds for all snapshots at once, and is another where there are others."""
    return {step: {name: row[name] for name in row if not JOINT.search(name)} for step, row in table.items()}


def test_a_snapshot_evaluated_twice_gets_the_same_numbers_and_pictures(
    finished: RunDir, warm: Warm, tmp_path: Path
) -> None:
    run = copy_unevaluated(finished, tmp_path)
    warm.run("evaluator", run.path)
    assert rows(run) == rows(finished)
    for picture in sorted(finished.evaluations.rglob("*.png")):
        again = run.path / picture.relative_to(finished.path)
        assert again.read_bytes() == picture.read_bytes()


def test_broken_snapshots_become_failed_results_and_the_rest_is_evaluated(
    finished: RunDir, warm: Warm, tmp_path: Path
) -> None:
    run = copy_unevaluated(finished, tmp_path)
    weights = run.snapshot(4) / "pytorch_lora_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    (run.snapshot(6) / "manifest.json").write_bytes(b"")
    shutil.copytree(finished.snapshot(2), run.snapshot(99999))  # whose manifest says step 2
    warm.run("evaluator", run.path)

    evaluated, before = rows(run), apart(rows(finished))
    assert set(evaluated) == {"0", "2", "4", "6"}
    assert apart(evaluated)["0"] == before["0"]
    assert apart(evaluated)["2"] == before["2"]
    for step, reason in (("4", "the manifest says"), ("6", "manifest.json is not a record")):
        assert evaluated[step]["status"] == "failed"
        assert reason in evaluated[step]["reason"]
        assert evaluated[step]["visual_loss"] == evaluated[step]["composite"] == ""
    result = run.read_result(4)
    assert result
    assert (result.status, result.samples) == ("failed", ())
    best = run.read_best()
    assert best
    assert best.step == 2
    assert warm.start("evaluator", run.path).wait() == 3, "nothing is left to do: failed is final"
    assert rows(run) == evaluated


def test_an_evaluator_started_again_leaves_results_alone(finished: RunDir, warm: Warm, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "copy")
    shutil.copytree(finished.path, run.path)
    before = {path: path.read_bytes() for path in run.evaluations.rglob("*") if path.is_file()}
    metrics = run.metrics_csv.read_bytes()
    assert warm.start("evaluator", run.path).wait() == 3
    assert {path: path.read_bytes() for path in run.evaluations.rglob("*") if path.is_file()} == before
    assert run.metrics_csv.read_bytes() == metrics


def test_the_best_snapshot_draws_the_same_picture_in_plain_diffusers(
    finished: RunDir, tmp_path: Path, tiny_model: Path
) -> None:
    run = finished
    best = run.read_best()
    assert best
    evaluation = run.evaluation(best.step)
    command = [
        sys.executable,
        ROOT / "tests" / "integration" / "redraw.py",
        tiny_model,
        run.path / best.snapshot,
        evaluation / "result.json",
        tmp_path,
    ]
    subprocess.run(command, check=True, env=environment(PYTHONPATH=""), cwd=tmp_path, capture_output=True, timeout=200)
    redrawn = sorted(tmp_path.glob("*.png"))
    assert len(redrawn) == 3
    for path in redrawn:
        with Image.open(path) as again, Image.open(evaluation / "images" / path.name) as evaluated:
            assert ImageChops.difference(again.convert("RGB"), evaluated.convert("RGB")).getbbox() is None
        with Image.open(path) as again, Image.open(run.evaluation(0) / "images" / path.name) as base:
            assert ImageChops.difference(again.convert("RGB"), base.convert("RGB")).getbbox() is not None


def test_a_result_nobody_weighed_is_weighed_without_being_made_again(
    finished: RunDir, warm: Warm, tmp_path: Path
) -> None:
    run = RunDir(tmp_path / "copy")
    shutil.copytree(finished.path, run.path)
    rows_before = read_rows(run.metrics_csv)
    write_rows(run.metrics_csv, OLDER_METRICS.header, [])
    run.best.unlink()
    warm.run("evaluator", run.path)
    assert read_rows(run.metrics_csv) == rows_before
    best, before = run.read_best(), finished.read_best()
    assert best
    assert before
    assert (best.step, best.reason, best.deltas) == (before.step, before.reason, before.deltas)


@pytest.mark.parametrize("harm", [lambda data: data[:300], lambda data: data[:-1] + bytes([data[-1] ^ 1])])
def test_references_that_are_not_what_was_published_are_refused(
    finished: RunDir, tmp_path: Path, harm: Callable[[bytes], bytes]
) -> None:
    run = copy_of(finished, tmp_path)
    assert references.load(run, run.read_config(), 8).pictures
    picture = sorted(run.references.glob("*.png"))[0]
    picture.write_bytes(harm(picture.read_bytes()))
    with pytest.raises(RunFolderError, match=picture.name):
        references.load(run, run.read_config(), 8)


@pytest.mark.parametrize("step", [2, 4, 6])
def test_every_snapshot_changes_the_pictures(finished: RunDir, step: int) -> None:
    for picture in sorted((finished.evaluation(step) / "images").glob("*.png")):
        with Image.open(picture) as drawn, Image.open(finished.evaluation(0) / "images" / picture.name) as base:
            assert ImageChops.difference(drawn.convert("RGB"), base.convert("RGB")).getbbox() is not None


def test_a_run_is_evaluated_where_neither_it_nor_its_model_nor_its_data_set_is_where_it_was(
    tmp_path: Path, tiny_model: Path, pictures: Path, warm: Warm
) -> None:
    data, model = (Path(shutil.copytree(folder, tmp_path / "old" / folder.name)) for folder in (pictures, tiny_model))
    run = create_run(tiny_config(tmp_path / "old" / "runs", "run", model, data, {"train": {"max_train_steps": 2}}))
    warm.run("trainer", run.path)
    shutil.rmtree(data)
    run = open_run((tmp_path / "old").rename(tmp_path / "new") / "runs" / "run")
    place = tmp_path / "new" / tiny_model.name
    adopt_places(run, run.read_config([f"model.path={place}"]), print)
    warm.run("evaluator", run.path)
    result = run.read_result(2)
    assert result
    assert result.status == "ok"
    assert result.missing["copy_max"].endswith(f"is not at {data}")
    assert not (tmp_path / "old").exists()
