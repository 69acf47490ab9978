"""The small parts of the supervisor; tests/integration shows the whole."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tomlkit

from shared import supervisor
from shared.errors import RunFolderError
from shared.publication import publish
from shared.records import EvaluationResult, Manifest
from shared.supervisor import ROOT, child_environment, dashboard_command, free_port, unjudged, wait_until_healthy
from shared.tables import METRIC_COLUMNS, write_rows
from tests.conftest import RunMaker

HOST = "127.0.0.1"


@contextmanager
def listening(port: int = 0) -> Generator[int]:
    with socket.socket() as server:
        server.bind((HOST, port))
        server.listen()
        yield server.getsockname()[1]


def test_a_free_port_is_taken_as_asked() -> None:
    with listening() as port:
        pass
    assert free_port(HOST, port) == port


def test_a_taken_port_gives_the_next_free_one() -> None:
    with listening() as port:
        assert port < free_port(HOST, port) < port + 50


def test_port_zero_lets_the_system_choose() -> None:
    assert free_port(HOST, 0) > 1023


def test_no_free_port_is_an_error_a_user_can_cure() -> None:
    with listening() as port, pytest.raises(RunFolderError, match=f"no free port from {port} on {HOST}"):
        free_port(HOST, port, attempts=1)


def test_an_address_that_is_not_ours_is_an_error_a_user_can_cure() -> None:
    with pytest.raises(RunFolderError, match="no free port"):
        free_port("203.0.113.1", 8501, attempts=2)


def test_children_find_our_packages_first_and_hold_the_lifeline(
    make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("HOME", "/home/someone")
    run = make_paper_run()
    environment = child_environment(run)
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/elsewhere"]
    assert environment["DARKROOM_LIFELINE"] == "1"
    assert environment["HOME"] == "/home/someone"
    assert (environment["DARKROOM_RUNS"], environment["DARKROOM_RUN"]) == (str(run.path.parent), run.path.name)
    monkeypatch.delenv("PYTHONPATH")
    assert child_environment(None)["PYTHONPATH"] == str(ROOT)
    assert "DARKROOM_RUN" not in child_environment(None)


def test_the_dashboard_is_started_on_one_address_and_sends_nothing_home() -> None:
    command = dashboard_command(HOST, 8512)
    assert command[1:3] == ["-m", "streamlit"]
    address = ["--server.address", HOST, "--server.port", "8512", "--browser.serverAddress", HOST]
    assert command[-6:] == address
    settings = tomlkit.parse((Path(command[4]).parent / ".streamlit" / "config.toml").read_text()).unwrap()
    assert settings["browser"]["gatherUsageStats"] is False
    assert settings["server"]["address"] == "127.0.0.1"


def test_nobody_listening_is_not_healthy() -> None:
    with listening() as port:
        pass
    assert not wait_until_healthy(f"http://{HOST}:{port}", seconds=0.3)


def test_what_is_left_to_judge_knows_the_base_model_and_leaves_other_runs_out(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    assert unjudged(run) == set()

    def snapshot(step: int, run_id: str) -> None:
        publish(run.staging, run.snapshot(step), Manifest(kind="snapshot", run_id=run_id, step=step), lambda _: None)

    snapshot(99999, "another")
    assert unjudged(run) == set()
    snapshot(2, run.read_record().run_id)
    assert unjudged(run) == {0, 2}
    write_rows(run.metrics_csv, METRIC_COLUMNS, [{"step": 0}])
    assert unjudged(run) == {2}
    run.evaluation(2).mkdir()
    EvaluationResult(run_id="r", step=2, status="ok").write(run.evaluation(2) / "result.json")
    assert unjudged(run) == {2}, "its evaluator may have died before it weighed the result"
    write_rows(run.metrics_csv, METRIC_COLUMNS, [{"step": 0}, {"step": 2}])
    assert unjudged(run) == set()


def test_a_restart_is_not_tried_for_errors_it_cannot_cure() -> None:
    assert {2, 5} == supervisor.PERMANENT
