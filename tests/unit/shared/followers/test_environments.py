"""A tracker runs in the Python that has its package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from examples.fake_run.run import create
from shared.followers import environments, trackers

NOBODY_HAS = "a_package_nobody_has"


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python of its own: this one's packages by a `.pth` file, and one more package."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "other")], check=True, timeout=120)
    (site,) = (tmp_path / "other").glob("lib/python*/site-packages")
    (site / "ours.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    (site / f"{NOBODY_HAS}.py").write_text("")
    python = tmp_path / "other" / "bin" / "python"
    monkeypatch.setenv(environments.VARIABLE, str(python))
    return python


def test_a_tracker_whose_package_is_elsewhere_runs_there(other: Path, tmp_path: Path) -> None:
    """It finds `shared` and nothing else of Darkroom: its process ends at the name, which no tracker has."""
    assert environments.missing(NOBODY_HAS) is None
    run = create(tmp_path / "kimono", steps=4, snapshot_steps=2).run
    command = environments.command(NOBODY_HAS, run.path, "nobody")
    assert command[0] == str(other)
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "error: run.trackers names 'nobody'" in done.stderr


def test_installed_packages_stay_in_this_python(other: Path) -> None:
    assert environments.missing("tensorboard") is None
    assert trackers.command("tensorboard", "RUN", "tensorboard")[:3] == [sys.executable, "-m", "shared.followers"]


def test_what_the_other_python_lacks_is_named_with_the_command(other: Path) -> None:
    found = environments.missing("another_package")
    assert found == (
        f"needs another_package, missing in {environments.VARIABLE}={other}",
        f"install it: {other} -m pip install another_package",
    )


def test_a_python_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path / "nothing"))
    found = environments.missing(NOBODY_HAS)
    assert found
    assert "cannot run in" in found[0]
    assert found[1] == f"set {environments.VARIABLE} to a Python that has {NOBODY_HAS}"


def test_a_folder_of_its_name_is_no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`./wandb` is W&B's own folder of runs."""
    monkeypatch.delenv(environments.VARIABLE, raising=False)
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_folder_of_runs").mkdir()
    assert environments.missing("a_folder_of_runs") == (
        "needs a_folder_of_runs, which is not installed",
        "install it: pip install a_folder_of_runs; or into an environment of its own (docs/trackers.md)",
    )


def test_a_program_that_answers_nothing_is_no_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "silent"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv(environments.VARIABLE, str(program))
    found = environments.missing(NOBODY_HAS)
    assert found
    assert found[0] == f"cannot run in {environments.VARIABLE}={program}: it is no Python"
