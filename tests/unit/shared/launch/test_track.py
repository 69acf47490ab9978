"""`run.py track`: what it says, and its exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from examples.fake_run.history import write_history
from examples.fake_run.run import create
from shared.followers import environments
from shared.run_folder.run_dir import RunDir
from tests.conftest import ROOT, environment


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    fake = create(tmp_path_factory.mktemp("runs") / "kimono", steps=8, snapshot_steps=4)
    write_history(fake)
    return fake.run


def track(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run.py"), "track", *map(str, words)]
    return subprocess.run(
        command, env=environment() | variables, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
    )


def test_a_finished_run_is_delivered_and_said(run: RunDir) -> None:
    done = track(run.path, "--to", "tensorboard")
    assert done.returncode == 0, done.stderr
    assert "tensorboard: everything is delivered" in done.stdout
    assert list(run.tracker("tensorboard").glob("events.out.tfevents.*"))


def test_unknown_and_missing_trackers_are_one_error_with_cures(run: RunDir, tmp_path: Path) -> None:
    """Nothing is delivered to the one that could be."""
    before = sorted(path for path in (run.path / "trackers").rglob("*"))
    done = track(run.path, "--to", "tensorboard", "--to", "nobody", **{environments.VARIABLE: str(tmp_path / "none")})
    assert done.returncode == 2
    assert done.stderr.count("error: ") == done.stderr.count("hint: ") == 1
    assert "--to names 'nobody'" in done.stderr
    assert "hint: choose from " in done.stderr
    assert sorted(path for path in (run.path / "trackers").rglob("*")) == before


def test_without_a_tracker_it_names_those_there_are(run: RunDir) -> None:
    done = track(run.path)
    assert done.returncode == 2
    assert "error: no tracker is named\nhint: give --to NAME, which is one of " in done.stderr
