"""A finished fake run, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from examples.fake_run.history import write_history
from examples.fake_run.run import FakeRun, create


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> FakeRun:
    fake = create(tmp_path_factory.mktemp("template") / "runs" / "finished", steps=200, snapshot_steps=40)
    write_history(fake)
    return fake


@pytest.fixture
def finished(_finished: FakeRun, tmp_path: Path) -> FakeRun:
    """A run folder `finished` of the test's own, inside `tmp_path / "runs"`."""
    shutil.copytree(_finished.run.path.parent, tmp_path / "runs", dirs_exist_ok=True)
    return create(tmp_path / "runs" / "finished", steps=200, snapshot_steps=40)
