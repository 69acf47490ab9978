"""F43: a run folder that another user of the machine opens, as in a container with a user of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboard.data import notes
from dashboard.data.reader import RunReader
from dashboard.story.snapshots import table
from evaluator.replay import replay
from examples.fake_run.history import write_history
from examples.fake_run.run import create
from shared.errors import RunFolderError
from shared.files.publication import verify
from shared.run_folder.run_dir import RunDir, open_run

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def run() -> Iterator[RunDir]:
    """Made under the usual umask, in a place that others can reach: pytest's own folder is for its user alone."""
    folder = Path(tempfile.mkdtemp(prefix="darkroom-other-user-"))
    folder.chmod(0o755)
    before = os.umask(0o022)
    try:
        fake = create(folder / "runs" / "mine", steps=100, snapshot_steps=50)
        write_history(fake)
        yield fake.run
    finally:
        os.umask(before)
        shutil.rmtree(folder)


def as_another(do: Callable[[], object]) -> None:
    """Do it in a fork that is somebody else's by then."""
    if (pid := os.fork()) == 0:
        code = 0
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            do()
        except BaseException:  # noqa: BLE001 - the fork ends here, whatever it was
            traceback.print_exc()
            code = 1
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_another_user_reads_everything_and_is_told_that_nothing_can_be_written(run: RunDir) -> None:
    def look() -> None:
        there = open_run(run.path)
        assert verify(there.snapshot(50)).step == 50
        assert replay(there).snapshots
        reader = RunReader(there, there.read_record().run_id)
        assert table(reader).lines
        assert reader.damaged == {}
        with pytest.raises(PermissionError):
            notes.star(there, 50, True)

    replay(run)  # what is imported late is imported by now: the other user may not reach it
    as_another(look)
    assert not run.notes.exists() or 50 not in notes.read_notes(run).starred


def test_what_the_umask_keeps_from_others_is_named_with_its_cure(run: RunDir) -> None:
    run.record.chmod(0o600)

    def look() -> None:
        with pytest.raises(RunFolderError, match="cannot be read: Permission denied") as caught:
            open_run(run.path)
        assert "make" in caught.value.hint

    as_another(look)
