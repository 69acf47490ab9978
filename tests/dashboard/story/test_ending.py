"""A run that failed says on its first screen what happened and what to do next, whatever ended it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from examples.fake_run.run import FakeRun
from shared.run_folder.run_dir import RunDir
from tests.dashboard.story.conftest import Show
from tests.dashboard.story.test_status import pretend

AGAIN = "No checkpoint was saved: to begin again, run the same command again."
ERROR = "error: the disk is full\nhint: free 2 GB on /data\n"
LOST = "error: no GPU answers\nhint: restart the driver\n"
MEMORY = "error: out of memory with one example at a time\nhint: set train.gradient_checkpointing = true\n"
NOT_FINITE = "error: 20 gradients in a row were not finite\nhint: lower train.learning_rate\n"
TRACEBACK = "Traceback (most recent call last):\n  File …\nValueError: the picture has no pixels\n"
CRASH = "Traceback (most recent call last):\n  File …\nRuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB\n"
DEAD = {"state": "training", "pid": 2**22 + 1}
FAILED = {"state": "failed", "message": "what the record says"}


@pytest.fixture
def broken(states: dict[str, FakeRun], tmp_path: Path) -> RunDir:
    """A copy of the failed run."""
    shutil.copytree(states["failed"].run.path, tmp_path / "failed")
    return RunDir(tmp_path / "failed")


@pytest.mark.parametrize(
    ("record", "log", "headline", "sentence"),
    [
        (FAILED, ERROR, "Training failed", "The disk is full. Free 2 GB on /data."),
        (FAILED, LOST, "Training failed", "No GPU answers. Restart the driver."),
        (FAILED, NOT_FINITE, "Training failed", "20 gradients in a row were not finite. Lower train.learning_rate."),
        (
            FAILED,
            MEMORY,
            "Training ran out of memory",
            "Out of memory with one example at a time. Set train.gradient_checkpointing = true.",
        ),
        (
            FAILED,
            CRASH,
            "Training ran out of memory",
            "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB. Set train.gradient_checkpointing = true, or "
            "close other programs that use the GPU.",
        ),
        (
            FAILED,
            TRACEBACK,
            "Training failed",
            "ValueError: the picture has no pixels. Read the end of the trainer's log (page Logs).",
        ),
        (
            FAILED,
            "",
            "Training failed",
            "What the record says. Read the end of the trainer's log (page Logs).",
        ),
        (DEAD, ERROR, "Training failed", "The disk is full. Free 2 GB on /data."),
        (
            DEAD,
            "2026-01-01 INFO step 3\n",
            "Training ended unexpectedly",
            f"The trainer (pid {2**22 + 1}) wrote no error. Memory ran out, somebody ended the program, or the machine "
            "was restarted.",
        ),
    ],
)
def test_what_happened_and_what_to_do_is_said(
    broken: RunDir, show: Show, record: dict[str, object], log: str, headline: str, sentence: str
) -> None:
    pretend(broken, "trainer", **record)
    broken.logs.mkdir(exist_ok=True)
    (broken.logs / "trainer.log").write_text(log)
    verdict = show(broken).verdict
    assert (verdict.kind, verdict.tone) == ("failed", "bad")
    assert verdict.headline == f"{headline} at step 39"
    assert verdict.sentence == f"{sentence} {AGAIN}"


def test_the_command_that_resumes_is_named(states: dict[str, FakeRun], show: Show) -> None:
    run = states["failed"].run
    assert show(run).verdict.sentence.endswith(f"to begin again, run `python run.py train {run.config}`")


def test_an_evaluator_that_failed_says_why_nothing_is_evaluated(
    states: dict[str, FakeRun], tmp_path: Path, show: Show
) -> None:
    shutil.copytree(states["live"].run.path, tmp_path / "live", ignore=shutil.ignore_patterns("*.tmp"))
    run = RunDir(tmp_path / "live")
    run.best.unlink()
    shutil.rmtree(run.evaluations)
    pretend(run, "trainer", state="finished")
    pretend(run, "evaluator", state="failed", message="the CLIP weights cannot be read")
    told = show(run).verdict
    assert told.headline == "Nothing is evaluated yet"
    assert told.sentence.startswith("The evaluator failed: The CLIP weights cannot be read. No evaluator is running.")


def test_a_verdict_of_a_run_that_failed_later_says_what_is_missing(
    states: dict[str, FakeRun], tmp_path: Path, show: Show
) -> None:
    shutil.copytree(states["finished"].run.path, tmp_path / "finished")
    run = RunDir(tmp_path / "finished")
    pretend(run, "trainer", state="failed", message="the disk is full")
    (caution,) = [text for text in show(run).verdict.cautions if "missing" in text]
    assert caution.startswith("Training failed at step 200, so later snapshots are missing. The disk is full.")
