"""`run.py check --repair`: damage is moved into quarantine/, never deleted, and what follows is said."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from run import app
from shared.errors import RunFolderError
from shared.files.publication import publish
from shared.launch import quarantine
from shared.launch.quarantine import Moved
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.pending import unevaluated
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir, steps_in
from tests.conftest import check
from tests.unit.shared.launch.test_integrity import dead_pid, run

__all__ = ["run"]


def add_checkpoint(run: RunDir, step: int) -> Path:
    manifest = Manifest(kind="checkpoint", run_id=run.read_record().run_id, step=step)
    publish(run.staging, run.checkpoint(step), manifest, lambda folder: (folder / "state.json").write_text("{}"))
    return run.checkpoint(step)


def cut(path: Path) -> bytes:
    """Damage a file; returns what is left of it."""
    path.write_bytes(path.read_bytes()[:-1])
    return path.read_bytes()


def only(moved: list[Moved]) -> Moved:
    (one,) = moved
    return one


def test_a_whole_run_is_left_as_it_is(run: RunDir) -> None:
    before = sorted(run.path.rglob("*"))
    assert quarantine.repair(run) == []
    assert [
        path for path in sorted(run.path.rglob("*")) if path not in before and run.processes not in path.parents
    ] == []


def test_a_damaged_result_is_moved_and_waits_to_be_evaluated_again(run: RunDir) -> None:
    left = cut(run.evaluation(2) / "result.json")
    moved = only(quarantine.repair(run))
    assert (run.path / moved.to / "result.json").read_bytes() == left
    assert moved.path == "evaluations/step-00000002"
    assert "the manifest says" in moved.reason
    assert moved.follows == f"`python run.py evaluate {run.path}` makes it again"
    assert check(run) == [], "its row went with it"
    assert 2 in unevaluated(run)


def test_a_damaged_checkpoint_is_moved_only_where_another_one_is_whole(run: RunDir) -> None:
    cut(add_checkpoint(run, 2) / "state.json")
    assert quarantine.repair(run) == [], "the run would begin again at step 1"
    assert steps_in(run.checkpoints) == {2}
    add_checkpoint(run, 1)
    assert only(quarantine.repair(run)).follows == "training resumes from the checkpoint of step 1"
    assert steps_in(run.checkpoints) == {1}
    assert check(run) == []


def test_a_damaged_snapshot_keeps_its_results(run: RunDir) -> None:
    left = cut(run.snapshot(2) / "pytorch_lora_weights.safetensors")
    moved = only(quarantine.repair(run))
    assert (run.path / moved.to / "pytorch_lora_weights.safetensors").read_bytes() == left
    assert "its results stay" in moved.follows
    assert run.read_result(2)
    assert check(run) == []


def test_what_a_newer_version_wrote_is_not_damaged(run: RunDir) -> None:
    manifest = run.evaluation(2) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema": "1.0"', '"schema": "9.0"'))
    assert quarantine.repair(run) == []
    assert run.evaluation(2).exists()


def test_half_lines_and_what_the_dead_left_are_moved(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    with run.train_csv.open("ab") as file:
        file.write(b"3,0.1")
    (run.staging / f"here-{dead_pid()}-0123abcd").mkdir()
    run.claims.mkdir(exist_ok=True)
    (run.claims / "step-00000002.json").write_text("{}")
    old, young = (run.path / f".best.json.{name}.tmp" for name in ("old", "young"))
    for path in (old, young):
        path.write_text("{")
    os.utime(old, (0, 0))
    assert len(check(run)) == 4
    moved = quarantine.repair(run)
    assert len(moved) == 4
    torn = next(run.path / one.to for one in moved if one.path == "the end of train.csv")
    assert torn.read_bytes() == b"3,0.1"
    assert young.exists(), "it may be in use"
    young.unlink()
    assert check(run) == []


def test_nothing_is_moved_under_a_program_at_work(run: RunDir) -> None:
    cut(run.evaluation(2) / "result.json")
    with hold_role(run, "trainer"), pytest.raises(RunFolderError, match="is its trainer"):
        quarantine.repair(run)
    assert run.evaluation(2).exists()


def test_the_command_says_it_in_lines_and_as_json(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.commands.check.verdict_note", lambda run: [])  # it starts a program
    cut(run.evaluation(2) / "result.json")

    def told(*options: str, code: int) -> str:
        done = CliRunner().invoke(app, ["check", str(run.path), *options])
        assert done.exit_code == code, done.output
        return done.stdout

    found = json.loads(told("--json", code=1))
    assert (found["run"], found["whole"], "moved" in found) == (str(run.path), False, False)
    assert found["problems"][0]["invariant"] == "published folders"
    assert f"published folders: {found['problems'][0]['text']}" in told(code=1)
    text = told("--repair", code=0)
    assert text.startswith("moved evaluations/step-00000002 to quarantine/")
    assert "is whole" in text
    assert json.loads(told("--json", "--repair", code=0))["moved"] == []
