"""When a program counts as hung, by the clock of the test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from shared.launch import hang_watch
from shared.launch.hang_watch import ALLOWANCES, FACTOR, FIRST_STEP, Hang, HangWatch
from shared.run_folder.records.process_status import ProcessStatus, Role, State
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import TRAIN_COLUMNS, Appender
from shared.run_folder.times import utc_now
from tests.conftest import RunMaker

HANG_SECONDS, RESCAN_SECONDS = 100.0, 2.0
BEAT = 2.0


@dataclass
class Clock:
    """Monotonic seconds, and a `run.py` that beats every two."""

    run: RunDir
    watch: HangWatch
    seconds: float = 0.0
    beat: int = 0

    def write(self, role: Role, state: State, counter: int, step: int = 0) -> None:
        record = ProcessStatus(
            role=role,
            run_id="r",
            pid=os.getpid(),
            host=socket.gethostname(),
            process_started=1.0,
            started=utc_now(),
            state=state,
            step=step,
            progress=counter,
            heartbeat=utc_now(),
        )
        record.write(self.run.processes / f"{role}.json")

    def own(self, *_: object) -> SimpleNamespace:
        """The record of `run.py` on the disk."""
        return SimpleNamespace(heartbeat=str(self.beat))

    def pass_time(
        self, seconds: float, role: Role = "trainer", *, by: float = BEAT, writes: bool = True
    ) -> Hang | None:
        """Look after each beat; the first hang that is found. by: seconds from one to the next."""
        end = self.seconds + seconds
        while self.seconds < end:
            self.seconds += by
            self.beat += writes
            if hang := self.watch.look(role, [os.getpid()]):
                return hang
        return None


@pytest.fixture
def clock(make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch) -> Clock:
    run = make_paper_run()
    run.processes.mkdir(exist_ok=True)
    made = Clock(run, HangWatch(run, HANG_SECONDS, RESCAN_SECONDS))
    monkeypatch.setattr(hang_watch, "read_status", made.own)
    monkeypatch.setattr(hang_watch.time, "monotonic", lambda: made.seconds)
    made.watch._beaten = 0.0
    return made


def test_a_counter_that_stands_still_for_too_long_is_a_hang(clock: Clock) -> None:
    clock.write("trainer", "training", 1, step=1)
    assert clock.pass_time(BEAT) is None
    for counter in range(2, 6):
        clock.write("trainer", "training", counter, step=counter)
        assert clock.pass_time(HANG_SECONDS / FACTOR / 2) is None
    hang = clock.pass_time(3 * HANG_SECONDS)
    assert hang == Hang(HANG_SECONDS + BEAT, "training", 5)
    assert str(hang) == "has done nothing for 102 s (training at step 5)"


@pytest.mark.parametrize("state", [state for state in ALLOWANCES if state not in (None, "training")])
def test_what_takes_long_has_its_own_limit(clock: Clock, state: State) -> None:
    clock.write("evaluator", state, 1)
    limit = ALLOWANCES[state] * HANG_SECONDS
    assert clock.pass_time(limit + BEAT, "evaluator") is None
    assert clock.pass_time(BEAT, "evaluator") == Hang(limit + BEAT, state, 0)


def test_one_that_has_not_written_a_record_loads(clock: Clock) -> None:
    limit = ALLOWANCES[None] * HANG_SECONDS
    assert clock.pass_time(limit + BEAT) is None
    hang = clock.pass_time(BEAT)
    assert hang is not None
    assert str(hang) == f"has done nothing for {limit + BEAT:.0f} s (loading)"


def test_the_first_step_compiles_and_is_no_measure_of_the_others(clock: Clock) -> None:
    clock.write("trainer", "training", 1, step=40)
    assert clock.pass_time(FIRST_STEP * HANG_SECONDS - BEAT) is None
    clock.write("trainer", "training", 2, step=41)
    assert clock.pass_time(BEAT) is None
    assert clock.pass_time(3 * HANG_SECONDS) == Hang(HANG_SECONDS + BEAT, "training", 41)


def test_what_the_run_was_seen_to_take_may_take_ten_times_as_long(clock: Clock) -> None:
    clock.write("trainer", "training", 1, step=1)
    clock.pass_time(BEAT)
    for step in (2, 3):
        clock.write("trainer", "training", step, step=step)
        assert clock.pass_time(50) is None
    assert clock.pass_time(FACTOR * 50 - 51) is None
    assert clock.pass_time(60)


def test_what_earlier_sessions_have_recorded_counts(clock: Clock) -> None:
    Appender(clock.run.train_csv, TRAIN_COLUMNS).append({"step": 1, "step_seconds": 30.0})
    clock.write("trainer", "training", 1, step=1)
    clock.pass_time(BEAT)
    clock.write("trainer", "training", 2, step=2)
    assert clock.pass_time(FACTOR * 30 - BEAT) is None
    assert clock.pass_time(5)


def test_a_machine_that_sleeps_hangs_not(clock: Clock) -> None:
    clock.write("trainer", "training", 2, step=1)
    clock.write("trainer", "training", 3, step=2)
    assert clock.pass_time(20 * 3600, by=3600) is None, "each of the twenty gaps counts as five seconds"


def test_a_full_disk_on_which_nothing_can_be_said_is_no_hang(clock: Clock) -> None:
    clock.write("trainer", "training", 2, step=1)
    assert clock.pass_time(20 * HANG_SECONDS, writes=False) is None


def test_a_program_that_is_stopped_hangs_not(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as program:
        monkeypatch.setattr(os, "getpid", lambda: program.pid)
        program.send_signal(signal.SIGSTOP)
        os.waitpid(program.pid, os.WUNTRACED)
        clock.write("trainer", "training", 1, step=1)
        assert clock.pass_time(20 * HANG_SECONDS) is None
        program.send_signal(signal.SIGCONT)
        assert clock.pass_time(20 * HANG_SECONDS)
        program.kill()


def test_where_the_setting_is_false_nothing_hangs(clock: Clock) -> None:
    clock.watch.hang_seconds = None
    clock.write("trainer", "training", 1, step=1)
    assert clock.pass_time(1000 * HANG_SECONDS, by=1000) is None


def test_another_program_in_its_place_begins_anew(clock: Clock) -> None:
    clock.write("evaluator", "idle", 1)
    clock.pass_time(HANG_SECONDS - 2, "evaluator")
    clock.watch.forget("evaluator")
    assert clock.pass_time(HANG_SECONDS - 2, "evaluator") is None
