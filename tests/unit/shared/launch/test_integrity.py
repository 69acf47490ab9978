"""`run.py check`: a whole run folder has nothing to say; each broken invariant is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from shared.files.publication import publish
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import TRAIN_COLUMNS, VALIDATION_COLUMNS, Appender, write_rows
from tests.conftest import RunMaker, check


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    """Two steps trained, one snapshot evaluated."""
    made = make_paper_run()
    run_id = made.read_record().run_id
    table = Appender(made.train_csv, TRAIN_COLUMNS)
    for step in (1, 2):
        table.append({"step": step, "loss": 0.5})

    def write_adapter(folder: Path) -> None:
        save_file({"weight": np.zeros(2, np.float32)}, folder / "pytorch_lora_weights.safetensors")

    def write_result(folder: Path) -> None:
        EvaluationResult(run_id=run_id, step=2, status="ok").write(folder / "result.json")

    publish(made.staging, made.snapshot(2), Manifest(kind="snapshot", run_id=run_id, step=2), write_adapter)
    publish(made.staging, made.evaluation(2), Manifest(kind="evaluation", run_id=run_id, step=2), write_result)
    write_rows(made.metrics_csv, OLDER_METRICS.header, [{"step": 2, "status": "ok"}])
    return made


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_whole_run_folder_has_nothing_to_say(run: RunDir) -> None:
    assert check(run) == []


def test_a_changed_snapshot_is_named(run: RunDir) -> None:
    path = run.snapshot(2) / "pytorch_lora_weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "manifest says" in "\n".join(check(run))


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([0, 2], None),
        ([0, 2, 2], "do not ascend"),
        ([2, 0], "do not ascend"),
        ([0, 3], "step 3 of validation.csv lies"),
    ],
)
def test_held_out_losses_ascend_and_training_has_come_so_far(
    run: RunDir, steps: list[int], problem: str | None
) -> None:
    write_rows(run.validation_csv, VALIDATION_COLUMNS, [{"step": step, "held_out_loss": 0.5} for step in steps])
    found = check(run)
    assert (problem is None and found == []) or (problem is not None and problem in found[0])


def test_a_damaged_table_of_single_losses_is_named(run: RunDir) -> None:
    run.validation_examples_csv.write_text("step,part,id,loss\n2,probe,a,0.5\n")
    assert check(run) == []
    run.validation_examples_csv.write_text("step,loss\n2,0.")
    said = "\n".join(check(run))
    assert "validation_examples.csv does not begin with its header" in said
    assert "validation_examples.csv ends in a torn line" in said


def test_a_file_that_is_no_safetensors_is_named(run: RunDir) -> None:
    (run.snapshot(2) / "other.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0no json!")
    assert any("no safetensors header" in problem for problem in check(run))


def test_a_row_without_its_result_and_a_result_without_its_row_are_named(run: RunDir) -> None:
    write_rows(run.metrics_csv, OLDER_METRICS.header, [{"step": 4}])
    said = "\n".join(check(run))
    assert "step 4 of metrics.csv has no result" in said
    assert "step 2 stands 0 times in metrics.csv" in said


def test_a_step_that_is_missing_or_twice_is_named(run: RunDir) -> None:
    Appender(run.train_csv, TRAIN_COLUMNS).append({"step": 2})
    assert any("does not count from 1" in problem for problem in check(run))


def test_a_torn_line_is_named(run: RunDir) -> None:
    with run.train_csv.open("ab") as file:
        file.write(b"3,0.1")
    assert any("torn line" in problem for problem in check(run))


def test_what_the_dead_left_is_named(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    (run.staging / f"here-{dead_pid()}-0123abcd").mkdir()
    assert any("removes it" in problem for problem in check(run))


def test_a_claim_of_the_dead_is_named_with_its_cure(run: RunDir) -> None:
    run.claims.mkdir(exist_ok=True)
    (run.claims / "step-00000002.json").write_text("{}")
    (problem,) = check(run)
    assert problem.endswith(f"left by a process that has exited; `python run.py evaluate {run.path}` removes it")


def test_a_changed_data_set_is_named(run: RunDir) -> None:
    folder = Path(run.read_record().dataset.path)
    caption = next(folder.glob("*.txt"))
    before = caption.read_text()
    caption.write_text("something else")
    try:
        assert any("has changed since" in problem for problem in check(run))
    finally:
        caption.write_text(before)
