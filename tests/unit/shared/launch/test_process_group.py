"""Processes that live and die together; real ones, that only sleep."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from shared.launch.process_group import Team, places
from tests.conftest import until

SLEEP = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"

TeamMaker = Callable[..., Team]


@pytest.fixture
def start() -> Iterator[TeamMaker]:
    """Starts a process for each piece of code."""
    started: list[subprocess.Popen[bytes]] = []

    def make(*codes: str, grace_seconds: float = 60) -> Team:
        started.extend(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for code in codes)
        return Team(started, grace_seconds)

    yield make
    for process in started:
        process.kill()
        process.communicate()


def code_of(team: Team) -> int | None:
    until(lambda: team.poll() is not None, "the end of the team", seconds=30)
    return team.returncode


def test_a_team_ends_well_when_all_do(start: TeamMaker) -> None:
    assert code_of(start("", "", "")) == 0


def test_one_failure_ends_the_others_and_its_code_is_the_teams(start: TeamMaker) -> None:
    team = start(SLEEP, "raise SystemExit(3)", SLEEP)
    assert code_of(team) == 3
    assert [member.returncode for member in team.members] == [-signal.SIGTERM, 3, -signal.SIGTERM]


def test_a_kill_is_the_cause_where_another_only_lost_it(start: TeamMaker) -> None:
    team = start("raise SystemExit(1)", SLEEP)
    team.members[1].kill()
    for member in team.members:
        member.wait()
    assert code_of(team) == -signal.SIGKILL


def test_one_that_does_not_listen_is_killed_after_the_grace_period(start: TeamMaker) -> None:
    team = start("raise SystemExit(1)", DEAF, grace_seconds=0.1)
    assert team.members[1].stdout
    team.members[1].stdout.readline()
    assert code_of(team) == 1
    assert team.members[1].returncode == -signal.SIGKILL
    assert team.pids == []


def test_a_signal_reaches_each_and_one_that_has_ended_is_left_alone(start: TeamMaker) -> None:
    team = start("", SLEEP, SLEEP)
    team.members[0].wait()
    team.send_signal(signal.SIGTERM)  # SIGINT is ignored where a shell started the tests in the background
    assert code_of(team) == -signal.SIGTERM


def test_each_process_is_told_its_place() -> None:
    assert places(1) == [{}]
    first, second = places(2)
    assert (first["RANK"], second["RANK"], second["LOCAL_RANK"]) == ("0", "1", "1")
    assert first["WORLD_SIZE"] == second["LOCAL_WORLD_SIZE"] == "2"
    assert first["MASTER_PORT"] == second["MASTER_PORT"]
