"""Cells that are run twice, too early, or while the run is at work."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from shared.notebook.cell_error import CellError
from shared.notebook.session import Session
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.run_dir import RunDir
from tests.conftest import RunMaker


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session("run", str(tmp_path / "pictures"), "pocket", local=str(tmp_path), kept=str(tmp_path / "drive"))


@pytest.mark.parametrize(
    ("cell", "problem", "cure"),
    [
        (Session.train, r"there is no .*run\.toml yet", "calls prepare"),
        (Session.report, "there is no run run yet", "calls train"),
        (Session.take, "there is no run run yet", "calls train"),
    ],
)
def test_a_cell_that_is_run_too_early_says_which_comes_first_and_writes_nothing(
    session: Session, tmp_path: Path, cell: Callable[[Session], None], problem: str, cure: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CellError, match=problem) as caught:
        cell(session)
    assert cure in caught.value.hint
    assert caught.value._render_traceback_()[0].startswith("error: there is no"), "no traceback in the notebook"
    assert sorted(tmp_path.rglob("*")) == before


def test_what_run_py_refuses_ends_the_cell_with_its_words(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CellError, match=r"run\.py init has ended with exit code 2"):
        session.prepare()
    assert "pictures" in capsys.readouterr().out
    assert not session.config.exists()


def test_a_config_that_is_there_stays(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    session.config.write_text("# mine\n")
    session.prepare()
    assert session.config.read_text() == "# mine\n"
    assert "is there and stays" in capsys.readouterr().out


def test_a_run_at_work_is_waited_for_and_not_started_again(
    make_paper_run: RunMaker, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a restart of the kernel while training went on."""
    run: RunDir = make_paper_run()
    assert run.path == session.run.path
    session.config.write_text("# of this run\n")
    with hold_role(run, "supervisor") as supervisor:
        supervisor.update("training")
        done = threading.Thread(target=session.train)
        done.start()
        done.join(1.0)
        assert done.is_alive()
    done.join(120)
    assert not done.is_alive()
    assert "this run is at work already" in capsys.readouterr().out


def test_a_dashboard_that_serves_is_shown_again(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {"pid": os.getpid(), "started": psutil.Process().create_time(), "port": 1234, "host": ""}
    (session.place.local / "dashboard.json").write_text(json.dumps(ours))
    monkeypatch.setattr("shared.notebook.session.wait_until_healthy", lambda url, seconds: url.endswith(":1234"))
    shown: list[int] = []
    monkeypatch.setattr(Session, "_show", lambda self, port, host: shown.append(port))
    session.dashboard()
    session.dashboard()
    assert shown == [1234, 1234]
