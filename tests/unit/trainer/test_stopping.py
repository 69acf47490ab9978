"""Every way to be told to stop becomes one reason, and the first one stays."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest

from shared import control
from shared.rundir import RunDir
from tests.conftest import RunMaker
from trainer.stopping import SIGNALS, StopSignal


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


@pytest.fixture(autouse=True)
def _handlers() -> Generator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_nobody_asking_means_going_on(run: RunDir) -> None:
    assert StopSignal(run).reason(1) is None


def test_a_request_is_seen_once_and_becomes_the_reason(run: RunDir) -> None:
    stop = StopSignal(run)
    request = control.submit_stop(run, by="the dashboard")
    assert stop.reason(4) == "asked by the dashboard"
    seen = control.read_answer(run, request)
    assert seen.seen
    assert (seen.step, seen.saved, seen.stopped) == (4, None, None)
    assert stop.reason(5) == "asked by the dashboard"
    assert control.read_answer(run, request) == seen


def test_a_request_of_an_earlier_session_is_ignored(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = control.submit_stop(run, by="the dashboard")
    monkeypatch.setattr(control, "session_started", lambda run: "2999-01-01T00:00:00+00:00")
    assert StopSignal(run).reason(1) is None
    assert control.read_answer(run, stale).ignored


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_a_reason_and_the_second_is_not_caught(run: RunDir, number: signal.Signals) -> None:
    stop = StopSignal(run)
    os.kill(os.getpid(), number)
    assert stop.reason(1) == f"signal {number.name}"
    assert signal.getsignal(number) == signal.SIG_DFL


def test_the_first_reason_stays(run: RunDir) -> None:
    stop = StopSignal(run)
    stop.ask("no finite gradients")
    control.submit_stop(run, by="the dashboard")
    assert stop.reason(1) == "no finite gradients"


def test_every_open_request_is_answered_also_one_that_came_after_the_last_step(run: RunDir) -> None:
    stop = StopSignal(run)
    stop.ask("signal SIGTERM")
    late = control.submit_stop(run, by="the dashboard")
    stop.note("saved", 9)
    stop.note("stopped", 9)
    answer = control.read_answer(run, late)
    assert answer.saved
    assert answer.stopped
    assert answer.step == 9
    assert control.open_requests(run) == []
