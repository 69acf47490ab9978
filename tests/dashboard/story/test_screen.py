"""The first screen of a run in each state, and of folders that are damaged."""

from __future__ import annotations

import json
import shutil
import socket
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from examples.fake_run.run import FakeRun
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import utc_now
from tests.dashboard.story.conftest import Show

GOLDEN = Path(__file__).parents[2] / "golden" / "folders"
HEADLINES = {
    "live": ("leading", "Leading so far: step 40"),
    "finished": ("ship", "Ship step 120"),
    "unproven": ("unproven", "No snapshot clearly beats the base model"),
    "empty": ("waiting", "Not started yet"),
    "failed": ("failed", "Training ran out of memory at step 39"),
}


@pytest.mark.parametrize("name", HEADLINES)
def test_each_state_has_its_headline_and_is_a_json_document(states: dict[str, FakeRun], show: Show, name: str) -> None:
    shown = show(states[name].run)
    assert (shown.verdict.kind, shown.verdict.headline) == HEADLINES[name]
    assert shown.live == (name == "live")
    assert shown.strip
    assert json.loads(json.dumps(asdict(shown), allow_nan=False))["run"] == name


def test_a_finished_run_is_told_in_prompts_won(states: dict[str, FakeRun], show: Show) -> None:
    verdict = show(states["finished"].run).verdict
    assert verdict.sentence == (
        "Better than the base model on 8 of 8 prompts, confirmed on 12 unseen prompts, no sign of overfitting."
    )
    assert [(row.title, row.words, row.better) for row in verdict.rows] == [
        (title, "better on 8 of 8 prompts", True) for title in ("Look", "Garment", "Colour")
    ]
    assert verdict.rows[0].caveat == "still farther from the reference than another real picture"
    assert not verdict.rows[1].caveat
    assert verdict.runner_up
    assert verdict.runner_up.words.startswith("Step 200 is as good within the margin of error; better than")
    assert verdict.downloads[0].primary
    assert "ComfyUI" in verdict.downloads[0].label
    assert [download.state for download in verdict.downloads] == ["absent", "ready", "absent"]
    assert "visual_loss" not in json.dumps(asdict(replace(verdict, reason="")))


def test_what_was_lost_is_named(states: dict[str, FakeRun], show: Show) -> None:
    shown = show(states["unproven"].run)
    assert shown.verdict.sentence.endswith("without a clear gain over the base model: better on 6 of 8 prompts.")
    assert shown.verdict.cautions[0].startswith("Worse than the base model on 2 prompts: “a forest tartan kimono")
    worst = next(pick for pick in shown.pictures.picks if pick.kind == "worst")
    assert worst.gain is not None
    assert worst.gain < 0
    assert worst.words == "Worst: worse than on the left"


def test_the_strip_shows_what_is_done_at_work_waiting_and_to_come(states: dict[str, FakeRun], show: Show) -> None:
    shown = show(states["live"].run)
    assert [(cell.step, cell.state) for cell in shown.strip] == [
        (0, "done"), (40, "done"), (80, "evaluating"), (120, "waiting"), (160, "planned"), (200, "planned"),
    ]  # fmt: skip
    ends = [cell.eta_seconds for cell in shown.strip[2:] if cell.eta_seconds is not None]
    assert len(ends) == len(shown.strip) - 2
    assert ends == sorted(ends)
    assert shown.strip[1].mark == "better"
    assert (shown.strip[1].wins, shown.strip[1].of) == (8, 8)
    assert shown.status.parts[3:] == ("evaluating 80, then 120", "5.0 steps/s")


def test_two_steps_of_ones_choice_stand_beside_their_reference(states: dict[str, FakeRun], show: Show) -> None:
    shown = show(states["finished"].run, left=40, right=200)
    assert shown.pictures.titles == ("reference", "step 40", "step 200")
    assert [cell.title for cell in shown.pictures.picks[0].cells] == ["reference", "step 40", "step 200"]
    assert all(cell.url and cell.alt for pick in shown.pictures.picks for cell in pick.cells)
    assert show(states["finished"].run, left=40, right=77).pictures.note == "Nothing was drawn at step 77."


def test_where_no_prompt_has_a_reference_its_column_and_its_losses_are_left_out(
    states: dict[str, FakeRun], show: Show, tmp_path: Path
) -> None:
    run = RunDir(shutil.copytree(states["finished"].run.path, tmp_path / "finished"))
    for path in run.evaluations.glob("*/result.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        for sample in result["samples"]:
            sample["has_reference"] = False
        path.write_text(json.dumps(result), encoding="utf-8")
    shown = show(run)
    assert shown.pictures.titles == ("base", "step 120 ★")
    assert all(len(pick.cells) == 2 for pick in shown.pictures.picks)
    assert not [row for row in shown.verdict.rows if row.title in ("Look", "Garment", "Colour")]


@pytest.mark.parametrize("name", ["finished", "interrupted"])
def test_runs_of_older_versions_have_a_first_screen(tmp_path: Path, show: Show, name: str) -> None:
    shutil.copytree(GOLDEN / name, tmp_path / name)
    shown = show(RunDir(tmp_path / name))
    assert shown.verdict.headline
    assert shown.strip
    assert shown.status.parts[0].startswith(("Finished 2026-11-26", "Ended unexpectedly at step 25 of 40"))


DAMAGE = {
    "best.json": "{",
    "metrics.json": '{"metrics": 3}',
    "metrics.csv": "step,status\nx\n\x00",
    "notes.json": "[",
    "evaluations/step-00000120/result.json": "{}",
    "evaluations/step-00000000/result.json": "not JSON",
    "processes/trainer.json": '{"heartbeat": "yesterday"}',
    "train.csv": "step,loss\nx,y\n",
    "config.toml": "[run",
}


@pytest.mark.parametrize("path", DAMAGE)
def test_a_damaged_file_is_said_and_takes_no_more_than_its_part(finished: FakeRun, show: Show, path: str) -> None:
    (finished.run.path / path).write_text(DAMAGE[path])
    shown = show(finished.run)
    json.dumps(asdict(shown), allow_nan=False)
    assert shown.verdict.headline
    assert shown.status.parts


def test_a_verdict_or_a_result_that_cannot_be_read_is_not_waited_for(finished: FakeRun, show: Show) -> None:
    finished.run.best.write_text("{")
    (finished.run.evaluation(80) / "result.json").write_text("{}")
    shown = show(finished.run)
    assert shown.verdict.headline == "The verdict cannot be read"
    assert "best.json" in shown.verdict.sentence
    assert shown.strip[2].state == "failed"
    assert "result.json is damaged" in shown.strip[2].words


def test_a_heartbeat_that_is_no_time_is_no_program(finished: FakeRun, show: Show) -> None:
    path = finished.run.processes / "trainer.json"
    record = json.loads(path.read_text()) | {"heartbeat": "yesterday", "state": "training"}
    path.write_text(json.dumps(record))
    shown = show(finished.run)
    assert shown.verdict.headline == "Ship step 120"
    assert shown.status.parts == ("Evaluated",)


def test_numbers_that_are_none_never_reach_the_page(finished: FakeRun, show: Show) -> None:
    path = finished.run.evaluation(120) / "result.json"
    tree = json.loads(path.read_text())
    for sample in tree["samples"][:2]:
        sample["metrics"] = dict.fromkeys(sample["metrics"], float("nan"))
    path.write_text(json.dumps(tree))
    shown = show(finished.run)
    assert json.dumps(asdict(shown), allow_nan=False)
    assert shown.strip[3].state == "failed"
    assert "result.json is not a record of Darkroom" in shown.strip[3].words


def test_a_best_snapshot_that_vanished_is_said_and_not_offered(finished: FakeRun, show: Show) -> None:
    shutil.rmtree(finished.run.snapshot(120))
    verdict = show(finished.run).verdict
    assert verdict.cautions[0] == "The files of step 120 are gone or damaged."
    assert (verdict.downloads, verdict.path) == ((), "")


def test_a_best_file_that_is_another_one_by_now_is_said_and_not_offered(
    finished: FakeRun, show: Show, tmp_path: Path
) -> None:
    link = next(finished.run.snapshot(120).glob("*.safetensors"))
    file = link.rename(tmp_path / "dress.safetensors")
    link.symlink_to(file)
    assert show(finished.run).verdict.headline == "Ship step 120"
    file.write_bytes(bytes(file.stat().st_size))
    verdict = show(finished.run).verdict
    assert verdict.headline == "Step 120 is the best, but its file has changed since"
    assert verdict.cautions[0].startswith("The file of step 120 is no longer the LoRA that was evaluated")
    assert (verdict.downloads, verdict.path) == ((), "")
    file.unlink()
    verdict = show(finished.run).verdict
    assert (verdict.headline, verdict.path) == ("Step 120 is the best, but its file is missing", "")


def test_a_long_run_shows_the_next_snapshots_and_the_last(
    states: dict[str, FakeRun], tmp_path: Path, show: Show
) -> None:
    shutil.copytree(states["live"].run.path, tmp_path / "live", ignore=shutil.ignore_patterns("*.tmp"))
    config = tmp_path / "live" / "config.toml"
    text = config.read_text().replace("max_train_steps = 200", "max_train_steps = 40000")
    config.write_text(text)
    planned = [cell.step for cell in show(RunDir(tmp_path / "live")).strip if cell.state == "planned"]
    assert len(planned) == 12
    assert (planned[0], planned[-1]) == (160, 40000)


def test_the_dashboard_and_the_run_may_lie_on_different_machines(finished: FakeRun, show: Show) -> None:
    path = finished.run.processes / "trainer.json"
    changes = {"state": "training", "host": f"not-{socket.gethostname()}", "heartbeat": utc_now()}
    record = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(record))
    shown = show(finished.run)
    assert shown.live
    assert shown.status.parts[0] == "Training 200 of 200"
