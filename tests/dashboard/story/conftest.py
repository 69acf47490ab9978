"""A run in each state, made once; nobody writes into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from dashboard.data.reader import RunReader
from dashboard.story.screen import Screen, screen
from examples.fake_run.run import FakeRun
from examples.fake_run.states import all_states
from shared.run_folder.run_dir import RunDir

Show = Callable[..., Screen]


@pytest.fixture(scope="session")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, FakeRun]]:
    """Live, finished, unproven, empty, failed."""
    with all_states(tmp_path_factory.mktemp("states")) as runs:
        yield runs


@pytest.fixture
def show() -> Show:
    """The first screen of a run folder, read anew."""

    def shown(run: RunDir, **sides: int) -> Screen:
        return screen(RunReader(run, run.read_record().run_id), datetime.now(UTC), UTC, **sides)

    return shown
