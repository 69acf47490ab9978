"""Processes that live and die together; real ones, that only sleep."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from shared.launch.process_group import ProcessGroup, places
from tests.conftest import until

SLEEP = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"

GroupMaker = Callable[..., ProcessGroup]


@pytest.fixture
def start() -> Iterator[GroupMaker]:
    """Starts a process for each piece of code."""
    started: list[subprocess.Popen[bytes]] = []

    def make(*codes: str, grace_seconds: float = 60) -> ProcessGroup:
        started.extend(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for code in codes)
        return ProcessGroup(started, grace_seconds)

    yield make
    for process in started:
        process.kill()
        process.communicate()


def code_of(group: ProcessGroup) -> int | None:
    until(lambda: group.poll() is not None, "the end of the group", seconds=30)
    return group.returncode


def test_a_team_ends_well_when_all_do(start: GroupMaker) -> None:
    assert code_of(start("", "", "")) == 0


def test_one_failure_ends_the_others_and_its_code_is_the_teams(start: GroupMaker) -> None:
    group = start(SLEEP, "raise SystemExit(3)", SLEEP)
    assert code_of(group) == 3
    assert [member.returncode for member in group.members] == [-signal.SIGTERM, 3, -signal.SIGTERM]


def test_a_kill_is_the_cause_where_another_only_lost_it(start: GroupMaker) -> None:
    group = start("raise SystemExit(1)", SLEEP)
    group.members[1].kill()
    for member in group.members:
        member.wait()
    assert code_of(group) == -signal.SIGKILL


def test_one_that_does_not_listen_is_killed_after_the_grace_period(start: GroupMaker) -> None:
    group = start("raise SystemExit(1)", DEAF, grace_seconds=0.1)
    assert group.members[1].stdout
    group.members[1].stdout.readline()
    assert code_of(group) == 1
    assert group.members[1].returncode == -signal.SIGKILL
    assert group.pids == []


def test_a_signal_reaches_each_and_one_that_has_ended_is_left_alone(start: GroupMaker) -> None:
    group = start("", SLEEP, SLEEP)
    group.members[0].wait()
    group.send_signal(signal.SIGTERM)  # SIGINT is ignored where a shell started the tests in the background
    assert code_of(group) == -signal.SIGTERM


def test_each_process_is_told_its_place() -> None:
    assert places(1) == [{}]
    first, second = places(2)
    assert (first["RANK"], second["RANK"], second["LOCAL_RANK"]) == ("0", "1", "1")
    assert first["WORLD_SIZE"] == second["LOCAL_WORLD_SIZE"] == "2"
    assert first["MASTER_PORT"] == second["MASTER_PORT"]
