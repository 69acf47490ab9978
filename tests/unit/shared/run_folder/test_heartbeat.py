"""Roles: held by an OS lock, told in a file, gone with the process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from shared.errors import RunFolderError
from shared.run_folder import requests
from shared.run_folder.heartbeat import (
    SILENT_SECONDS,
    hold_role,
    hold_slot,
    is_alive,
    process_alive,
    read_status,
    someone_serves,
    vacant,
)
from shared.run_folder.records.process_status import ProcessStatus
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import parse_time, utc_now
from tests.conftest import ROOT, RunMaker, environment, until

HOLD = """
import sys
from pathlib import Path
from shared.run_folder.run_dir import RunDir
from shared.run_folder.heartbeat import hold_role
with hold_role(RunDir(Path(sys.argv[1])), "trainer") as status:
    status.update("training", step=3)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def hold_in_another_process(run: RunDir) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=ROOT,
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_role_held_by_a_living_process_is_refused_with_its_pid(run: RunDir) -> None:
    process = hold_in_another_process(run)
    try:
        with (
            pytest.raises(RunFolderError, match=f"in use: pid {process.pid} on .* is its trainer"),
            hold_role(run, "trainer"),
        ):
            pass
        with hold_role(run, "evaluator"):
            pass  # another role is free
    finally:
        process.communicate("")
    with hold_role(run, "trainer"):
        pass


def test_several_programs_of_one_role_take_the_first_free_seats(run: RunDir) -> None:
    with hold_slot(run, "evaluator") as first, hold_slot(run, "evaluator") as second:
        first.update("evaluating", step=1)
        second.update("evaluating", step=2)
        found = [read_status(run, "evaluator", slot) for slot in (1, 2)]
        assert [status.step for status in found if status] == [1, 2]
        assert {path.name for path in run.processes.glob("*.json")} == {"evaluator.json", "evaluator-2.json"}
    assert not someone_serves(run, "evaluator")
    with hold_slot(run, "evaluator"):
        assert is_alive(read_status(run, "evaluator"))
        assert someone_serves(run, "evaluator")


def test_a_role_is_vacant_only_when_every_seat_is(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.run_folder.heartbeat.LEAVING_SECONDS", 0.1)
    with hold_slot(run, "evaluator") as first:
        with hold_slot(run, "evaluator"):
            first.close("finished")
            with pytest.raises(RunFolderError, match="is its evaluator"), vacant(run, "evaluator"):
                pass
        with pytest.raises(RunFolderError, match="is its evaluator"), vacant(run, "evaluator"):
            pass
    with vacant(run, "evaluator"), hold_slot(run, "evaluator") as later:
        assert later.record.state == "starting"
    with vacant(run, "evaluator"):
        pass


def test_a_killed_holder_leaves_its_role_free_and_is_known_to_be_dead(run: RunDir) -> None:
    process = hold_in_another_process(run)
    assert is_alive(read_status(run, "trainer"))
    process.kill()
    process.wait()
    left = read_status(run, "trainer")
    assert left
    assert (left.pid, left.state, left.step) == (process.pid, "training", 3)
    assert not is_alive(left)
    with hold_role(run, "trainer"):
        status = read_status(run, "trainer")
        assert status
        assert status.pid == os.getpid()


def test_a_role_given_back_in_peace_says_finished(run: RunDir) -> None:
    with hold_role(run, "trainer") as status:
        status.update("training", step=1)
    left = read_status(run, "trainer")
    assert left
    assert left.state == "finished"
    assert not is_alive(left)


def test_a_final_state_said_by_the_program_stays(run: RunDir) -> None:
    with hold_role(run, "trainer") as status:
        status.update("stopped", message="asked by a test")
    left = read_status(run, "trainer")
    assert left
    assert (left.state, left.message) == ("stopped", "asked by a test")


def test_an_error_is_said_and_passed_on(run: RunDir) -> None:
    with pytest.raises(ValueError, match="boom"), hold_role(run, "trainer"):
        raise ValueError("boom")
    left = read_status(run, "trainer")
    assert left
    assert (left.state, left.message) == ("failed", "boom")


def test_a_new_state_is_written_at_once_and_progress_only_grows(run: RunDir) -> None:
    with hold_role(run, "trainer") as status:
        seen = []
        for state in ("preparing", "training", "saving"):
            status.update(state)
            written = read_status(run, "trainer")
            assert written
            assert written.state == state
            seen.append(written.progress)
        assert seen == sorted(set(seen))


def test_the_heartbeat_beats_without_work_being_done(run: RunDir) -> None:
    with hold_role(run, "trainer") as status:
        first = status.record

        def beaten() -> bool:
            written = read_status(run, "trainer")
            return written is not None and written.heartbeat > first.heartbeat

        until(beaten, "a heartbeat", seconds=10)
        assert status.record.progress == first.progress


def full(path: Path, data: bytes) -> None:
    raise OSError(28, "No space left on device")


def test_the_heartbeat_outlives_a_full_disk(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    beats = []
    with hold_role(run, "trainer") as status:
        with monkeypatch.context() as patch:
            patch.setattr(
                "shared.run_folder.records.record.replace_file",
                lambda path, data: beats.append(path) or full(path, data),
            )
            until(lambda: len(beats) > 1, "two heartbeats", seconds=10)
        stale = status.record.heartbeat
        until(lambda: (read_status(run, "trainer") or status.record).heartbeat > stale, "a heartbeat", seconds=10)


def test_a_full_disk_does_not_hide_the_error_that_ended_the_program(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def program() -> None:
        with hold_role(run, "trainer"):
            monkeypatch.setattr("shared.run_folder.records.record.replace_file", full)
            raise ValueError("the real one")

    with pytest.raises(ValueError, match="the real one"):
        program()


def status_of(pid: int, started: float, host: str | None = None) -> ProcessStatus:
    now = utc_now()
    return ProcessStatus(
        role="trainer",
        run_id="r",
        pid=pid,
        host=host or socket.gethostname(),
        process_started=started,
        started=now,
        state="training",
        heartbeat=now,
    )


def test_a_process_is_known_by_pid_and_start_time() -> None:
    me = psutil.Process()
    assert is_alive(status_of(me.pid, me.create_time()))
    assert not is_alive(status_of(me.pid, me.create_time() - 3600)), "the pid was reused"
    assert not is_alive(None)


def test_a_process_that_ended_but_was_not_waited_for_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    started = psutil.Process(process.pid).create_time()
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, "the child to end", seconds=10)
    assert not process_alive(process.pid, started)
    process.wait()
    assert not process_alive(process.pid, started)


def test_a_process_of_another_machine_is_believed_while_its_heart_beats() -> None:
    """A run folder is copied, or its container is gone: the file says for ever that it trains."""
    there = status_of(1, 1.0, host="elsewhere")
    assert is_alive(there)
    silent = parse_time(there.heartbeat) - timedelta(seconds=SILENT_SECONDS + 1)
    assert not is_alive(there.model_copy(update={"heartbeat": silent.isoformat()}))


@pytest.mark.parametrize("content", ["", "{", '{"schema": "9.0"}'])
def test_an_unreadable_status_is_none(run: RunDir, content: str) -> None:
    (run.processes / "trainer.json").write_text(content)
    assert read_status(run, "trainer") is None


def test_a_session_began_when_its_living_supervisor_did(run: RunDir) -> None:
    with hold_role(run, "supervisor") as status:
        assert requests.session_started(run) == status.record.started


def test_a_supervisor_that_has_ended_does_not_date_the_session(run: RunDir) -> None:
    with hold_role(run, "supervisor"):
        pass
    own_start = psutil.Process().create_time()
    assert parse_time(requests.session_started(run)).timestamp() == pytest.approx(own_start, abs=1.01), "whole seconds"
