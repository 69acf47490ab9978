"""Every way to be told to stop becomes one reason, and the first one stays."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest

from shared.errors import TrainingError
from shared.run_folder import requests
from shared.run_folder.run_dir import RunDir
from tests.conftest import RunMaker
from trainer import stopping
from trainer.stopping import SIGNALS, StopSignal, TimeLimit, first_save_seconds, is_time_up


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
    request = requests.submit_stop(run, by="the dashboard")
    assert stop.reason(4) == "requested by the dashboard"
    seen = requests.read_answer(run, request)
    assert seen.seen
    assert (seen.step, seen.saved, seen.stopped) == (4, None, None)
    assert stop.reason(5) == "requested by the dashboard"
    assert requests.read_answer(run, request) == seen


def test_a_request_of_an_earlier_session_is_ignored(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = requests.submit_stop(run, by="the dashboard")
    monkeypatch.setattr(requests, "session_started", lambda run: "2999-01-01T00:00:00+00:00")
    assert StopSignal(run).reason(1) is None
    assert requests.read_answer(run, stale).ignored


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_a_reason_and_the_second_is_not_caught(run: RunDir, number: signal.Signals) -> None:
    stop = StopSignal(run)
    os.kill(os.getpid(), number)
    assert stop.reason(1) == f"signal {number.name}"
    assert signal.getsignal(number) == signal.SIG_DFL


def test_the_first_reason_stays(run: RunDir) -> None:
    stop = StopSignal(run)
    stop.ask("no finite gradients")
    requests.submit_stop(run, by="the dashboard")
    assert stop.reason(1) == "no finite gradients"


def test_every_open_request_is_answered_also_one_that_came_after_the_last_step(run: RunDir) -> None:
    stop = StopSignal(run)
    stop.ask("signal SIGTERM")
    late = requests.submit_stop(run, by="the dashboard")
    stop.note("saved", 9)
    stop.note("stopped", 9)
    answer = requests.read_answer(run, late)
    assert answer.saved
    assert answer.stopped
    assert answer.step == 9
    assert requests.open_requests(run) == []


def test_training_that_cannot_go_on_stops_and_fails_once_all_is_saved(run: RunDir) -> None:
    stop = StopSignal(run)
    stop.raise_failure()
    stop.fail("no finite gradients", "lower the rate")
    assert stop.reason(3) == "no finite gradients"
    with pytest.raises(TrainingError, match="no finite gradients") as caught:
        stop.raise_failure()
    assert (caught.value.exit_code, caught.value.hint) == (4, "lower the rate")


def test_a_failure_after_a_stop_was_asked_for_is_still_told(run: RunDir) -> None:
    stop = StopSignal(run)
    stop.ask("signal SIGTERM")
    stop.fail("the weights are not finite", "")
    stop.fail("the disk is nearly full", "")
    assert stop.reason(3) == "signal SIGTERM"
    with pytest.raises(TrainingError, match="the weights are not finite"):
        stop.raise_failure()


def test_only_the_main_process_answers(run: RunDir) -> None:
    request = requests.submit_stop(run, by="a test")
    assert StopSignal(run, answers=False).reason(2) is None
    assert requests.read_answer(run, request).seen is None


@pytest.mark.parametrize(
    ("elapsed", "longest_step", "longest_save", "up"),
    [
        (0, 1, 1, False),
        (96, 1, 1, False),  # 96 + 1 + 2 × 1 fits into 100
        (97.1, 1, 1, True),
        (80, 21, 0, True),
        (80, 1, 10, True),
        (100.1, 0, 0, True),
    ],
)
def test_time_is_up_when_one_more_step_would_leave_no_time_for_the_last_save(
    elapsed: float, longest_step: float, longest_save: float, up: bool
) -> None:
    assert is_time_up(elapsed, 100, longest_step, longest_save) is up


def test_an_unmeasured_save_is_guessed_from_its_size() -> None:
    assert first_save_seconds(0) == 1.0
    assert first_save_seconds(200_000_000) == 11.0


def test_the_limit_counts_from_the_sessions_start_and_knows_the_longest_recent_step(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(stopping.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(stopping, "seconds_since", lambda text: 40.0)
    limit = TimeLimit(run, 100.0)
    assert not limit.is_up(0)
    clock[0] += 20
    limit.rest()  # loading the model was no step
    clock[0] += 15
    limit.lap()
    assert not limit.is_up(longest_save=5)  # 75 + 15 + 10
    clock[0] += 1
    assert limit.is_up(longest_save=5)
    for _ in range(stopping.RECENT_STEPS):
        clock[0] += 0.1
        limit.lap()
    assert not limit.is_up(longest_save=5), "a step that long is long ago"
    assert not TimeLimit(run, None).is_up(1e9)
