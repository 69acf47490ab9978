"""The line of what a run is doing, and the queue of what is left to evaluate."""

from __future__ import annotations

import json
import os
import shutil
import socket
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import psutil
import pytest

from dashboard.data.reader import RunReader
from dashboard.story.evidence import gather
from dashboard.story.progress.at_the_end import AtTheEnd
from dashboard.story.progress.status import Status, clock
from dashboard.story.screen import screen
from examples.fake_run.run import FakeRun
from shared.run_folder import requests
from shared.run_folder.averages import averaged
from shared.run_folder.run_dir import RunDir
from shared.run_folder.sharing.leases import claimed
from tests.dashboard.story.conftest import Show


def pretend(run: RunDir, program: str, *, silent: float = 0.0, **changes: object) -> None:
    """The record of a program that this process stands for, its last heartbeat `silent` seconds old."""
    path = run.processes / f"{program}.json"
    alive = {"pid": os.getpid(), "process_started": psutil.Process().create_time(), "host": socket.gethostname()}
    heartbeat = (datetime.now(UTC) - timedelta(seconds=silent)).isoformat()
    path.write_text(json.dumps(json.loads(path.read_text()) | alive | {"heartbeat": heartbeat} | changes))


@pytest.fixture
def halfway(states: dict[str, FakeRun], tmp_path: Path) -> RunDir:
    """A copy of the live run that nobody works on any more: steps 80 and 120 are not evaluated."""
    shutil.copytree(states["live"].run.path, tmp_path / "live", ignore=shutil.ignore_patterns("*.tmp"))
    run = RunDir(tmp_path / "live")
    shutil.rmtree(run.claims)
    for program in ("trainer", "evaluator"):
        pretend(run, program, state="stopped")
    return run


@pytest.mark.parametrize(
    ("state", "silent", "expected"),
    [
        ("starting", 0, "Starting"),
        ("preparing", 0, "Preparing · caching latents"),
        ("training", 0, "Training 125 of 200"),
        ("paused", 0, "Paused at step 125 of 200"),
        ("waiting", 0, "Waiting at step 125 of 200 while the evaluator draws"),
        ("saving", 0, "Saving at step 125 of 200"),
        ("training", 40, "No sign of life for 40 s · last seen at step 125 of 200"),
    ],
)
def test_what_the_trainer_does_comes_first(
    halfway: RunDir, show: Show, state: str, silent: float, expected: str
) -> None:
    pretend(halfway, "trainer", silent=silent, state=state, message="caching latents")
    line = " · ".join(show(halfway).status.parts)
    assert line.startswith(expected)
    assert "not evaluated: 120, 80 (no evaluator is running)" in line


def test_a_failed_run_gives_its_reason(halfway: RunDir, show: Show) -> None:
    pretend(halfway, "trainer", state="failed", message="the loss was not finite for 20 steps")
    assert show(halfway).status.parts[:2] == ("Failed at step 125 of 200", "the loss was not finite for 20 steps")
    pretend(halfway, "trainer", state="training", pid=2**22 + 1)
    assert show(halfway).status.parts[0] == "Ended unexpectedly at step 125 of 200"


def test_while_evaluation_goes_on_there_is_a_time_left(halfway: RunDir, show: Show) -> None:
    pretend(halfway, "evaluator", state="evaluating", step=120)
    with claimed(halfway, 120):
        parts = show(halfway).status.parts
    assert parts[0] == "Trained 125 of 200"
    assert parts[1].startswith("verdict in about ")
    assert parts[2:] == ("evaluating 120, then 80",)


def test_what_two_evaluators_do_is_counted_once(halfway: RunDir, show: Show) -> None:
    pretend(halfway, "evaluator", state="evaluating", step=120)
    with claimed(halfway, 120), claimed(halfway, 80):
        shown = show(halfway)
    assert shown.status.parts[-1] == "evaluating 120, 80"
    assert [cell.state for cell in shown.strip] == ["done", "done", "evaluating", "evaluating"]


def test_a_persons_own_prompts_are_in_the_queue(halfway: RunDir, show: Show) -> None:
    pretend(halfway, "evaluator", state="idle")
    requests.submit_evaluation(halfway, 40, "a test", ["a hat"])
    assert show(halfway).status.parts[-1] == "next to be evaluated: your prompts at 40, 120, 80"


def test_strengths_and_averages_are_in_the_queue_by_their_names(
    states: dict[str, FakeRun], show: Show, tmp_path: Path
) -> None:
    run = RunDir(Path(shutil.copytree(states["finished"].run.path, tmp_path / "finished")))
    best = run.read_best()
    assert best
    best.model_copy(update={"strengths": (0.6,)}).write(run.best)
    assert f"{best.step} at strength 0.6" in show(run).status.parts[-1]
    best.model_copy(update={"averages": (averaged(80, 120),)}).write(run.best)
    assert "not evaluated: 80–120 (no" in show(run).status.parts[-1]


def test_a_request_that_is_open_cannot_be_made_again(halfway: RunDir, show: Show) -> None:
    pretend(halfway, "trainer", state="training")
    assert show(halfway).status.can.stop
    requests.submit_stop(halfway, "a test")
    shown = show(halfway).status
    assert (shown.can.stop, shown.can.pause, shown.can.resume) == (False, True, False)
    assert shown.parts[0] == "Stopping at step 125 of 200"


def test_the_time_it_ended_is_that_of_the_viewers_zone(finished: FakeRun) -> None:
    reader, now = RunReader(finished.run, finished.record.run_id), datetime.now(UTC)
    kathmandu = timezone(timedelta(hours=5, minutes=45))

    def shown(zone: timezone) -> Status:
        return screen(reader, now, zone).status

    assert shown(UTC).parts[0].startswith("Finished ")
    assert " after 1 min " in shown(UTC).parts[0]
    assert clock(datetime(2026, 1, 1, 20, 0, tzinfo=UTC), datetime(2026, 1, 1, 21, 0, tzinfo=UTC), kathmandu) == "01:45"
    assert shown(kathmandu) != shown(UTC)


def test_the_end_of_all_evaluations_counts_the_snapshots_to_come_and_the_finals(states: dict[str, FakeRun]) -> None:
    live = states["live"]
    left = gather(RunReader(live.run, live.record.run_id), datetime.now(UTC), UTC).backlog
    assert left.planned == (160, 200)
    assert left.at_the_end == AtTheEnd(), "this run's verdict names no finalists"
    assert left.training_seconds == pytest.approx(15, abs=0.1)
    assert left.verdict_seconds is not None
    assert left.verdict_seconds >= max(left.ends.values()) > 15
