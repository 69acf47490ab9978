from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from dashboard.components import state_line
from dashboard.data.speed import pace
from dashboard.text import formatting
from shared.machine.gpu_readings import Gpu
from shared.run_folder.records.process_status import ProcessStatus, State
from shared.run_folder.sharing.active_evaluators import of_this_session
from shared.run_folder.times import parse_time

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def status(state: State, heartbeat_age: float, message: str = "") -> ProcessStatus:
    return ProcessStatus(
        role="trainer",
        run_id="r",
        pid=4711,
        host="here",
        process_started=0,
        started=ago(100),
        state=state,
        heartbeat=ago(heartbeat_age),
        message=message,
    )


@pytest.mark.parametrize(
    ("given", "alive", "value", "note", "tone"),
    [
        (None, False, "not started", "", "idle"),
        (status("training", 2), True, "training", "heartbeat 2 s ago", "good"),
        (status("preparing", 1, "caching"), True, "preparing", "heartbeat 1 s ago · caching", "good"),
        (status("training", 40), True, "stale", "no heartbeat for 40 s, last state training", "warn"),
        (status("training", 40), False, "dead", "pid 4711 no longer exists, last heartbeat 40 s ago", "bad"),
        (status("finished", 300), False, "finished", "5 min 00 s ago", "good"),
        (status("stopped", 300), False, "stopped", "5 min 00 s ago", "idle"),
        (status("failed", 9, "out of memory"), False, "failed", "out of memory", "bad"),
    ],
)
def test_a_process_is_said_to_be_what_it_is(
    given: ProcessStatus | None, alive: bool, value: str, note: str, tone: state_line.Tone
) -> None:
    assert state_line.process_fact("Trainer", given, alive, NOW) == state_line.Fact("Trainer", value, note, tone)


def test_the_evaluator_names_the_step_it_evaluates() -> None:
    evaluating = status("evaluating", 1).model_copy(update={"step": 400})
    assert state_line.evaluator_fact(evaluating, True, NOW).note == "heartbeat 1 s ago · step 400"


def test_several_evaluators_are_counted_and_each_tells_its_heartbeat() -> None:
    crew = {1: status("evaluating", 1).model_copy(update={"step": 400}), 3: status("idle", 2, "evaluated 9")}
    assert state_line.evaluators_fact(crew, {1, 3}, NOW) == state_line.Fact(
        "Evaluators",
        "2 running",
        "1: evaluating, heartbeat 1 s ago · step 400; 3: idle, heartbeat 2 s ago · evaluated 9",
        "good",
    )
    assert state_line.evaluators_fact(crew, {1}, NOW).tone == "bad"
    assert state_line.evaluators_fact({}, set(), NOW).value == "not started"
    assert state_line.evaluators_fact({2: crew[1]}, {2}, NOW) == state_line.evaluator_fact(crew[1], True, NOW)


def test_a_crew_is_the_living_and_who_died_beside_them() -> None:
    living, gone = status("idle", 1), status("evaluating", 50)
    done, long_gone = status("finished", 5), status("evaluating", 500)
    said = {1: gone, 2: living, 3: done, 4: long_gone}
    assert of_this_session(said, {2}).keys() == {1, 2}
    assert of_this_session(said, set()).keys() == {2}
    assert of_this_session({}, set()) == {}


def test_pace_is_wall_time_of_this_session_only() -> None:
    earlier = [ago(5000 - step) for step in range(50)]
    ours = [ago(50 - 0.5 * step) for step in range(61)]
    times = [parse_time(text).timestamp() for text in earlier + ours]
    train = pd.DataFrame({"step": range(1, 112), "timestamp": times}).astype("float64")
    found = pace(train, session_started=ago(100))
    assert found
    assert found.step_seconds == pytest.approx(0.5)
    assert (found.fastest, found.slowest) == (pytest.approx(0.5), pytest.approx(0.5))
    assert pace(train.head(50), session_started=ago(100)) is None
    assert pace(train.head(0), session_started=ago(100)) is None


def test_a_gpu_tells_what_its_driver_tells() -> None:
    known = Gpu("T4", 3 << 30, 16 << 30, celsius=90, watts=65.4, utilisation_percent=97)
    assert state_line.gpu_fact(known) == state_line.Fact("GPU", "3.0 / 16.0 GiB", "90 °C · 65 W · 97 %", "warn")
    assert state_line.gpu_fact(Gpu("T4", 0, 1 << 30)).note == ""


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3700, "1 h 01 min"), (200_000, "2 d 7 h"), (-5, "0 s")],
)
def test_durations_have_two_units_at_most(seconds: float, expected: str) -> None:
    assert formatting.duration(seconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(None, "–"), (float("nan"), "–"), (0.0841, "0.0841"), (12.0, "12.0"), (12345, "12,345")]
)
def test_numbers_have_three_digits(value: float | None, expected: str) -> None:
    assert formatting.number(value) == expected
