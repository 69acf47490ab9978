from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from dashboard import alerts, events
from dashboard.reader import VALIDATION_COLUMNS
from shared.records import ProcessStatus, State

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def status(state: State, message: str = "", notices: tuple[str, ...] = ()) -> ProcessStatus:
    return ProcessStatus(
        role="trainer",
        run_id="r",
        pid=4711,
        host="here",
        process_started=0,
        started=(NOW - timedelta(hours=1)).isoformat(),
        state=state,
        heartbeat=NOW.isoformat(),
        message=message,
        notices=notices,
    )


def train(loss: list[float], age: float = 0.0, step_seconds: float = 1.0) -> pd.DataFrame:
    last = NOW.timestamp() - age
    times = [last - step_seconds * (len(loss) - 1 - i) for i in range(len(loss))]
    return pd.DataFrame(
        {"step": np.arange(1.0, len(loss) + 1), "loss": loss, "timestamp": times, "step_seconds": step_seconds}
    )


def validation(held_out: list[float]) -> pd.DataFrame:
    steps = np.arange(10.0, 10 * len(held_out) + 1, 10)
    return pd.DataFrame({"step": steps, "held_out_loss": held_out}).reindex(columns=list(VALIDATION_COLUMNS))


def test_steps_without_a_finite_loss_are_counted_and_grave_when_they_do_not_end() -> None:
    (once,) = alerts.not_finite(train([0.1, np.nan, 0.1, 0.1]))
    assert (once.level, once.step) == ("warn", 2)
    (lasting,) = alerts.not_finite(train([0.1, np.nan, np.inf, np.nan]))
    assert (lasting.level, lasting.step) == ("bad", 4)
    assert alerts.not_finite(train([0.1, 0.2])) == []


@pytest.mark.parametrize(
    ("age", "step_seconds", "state", "alive", "found"),
    [
        (59, 1.0, "training", True, 0),
        (61, 1.0, "training", True, 1),
        (61, 30.0, "training", True, 0),
        (601, 30.0, "training", True, 1),
        (601, 1.0, "paused", True, 0),
        (601, 1.0, "training", False, 0),
    ],
)
def test_a_stall_is_a_living_trainer_without_steps(
    age: float, step_seconds: float, state: State, alive: bool, found: int
) -> None:
    assert len(alerts.stalled(train([0.1] * 5, age, step_seconds), status(state), alive, NOW)) == found


def test_a_program_that_ended_badly_is_told_by_how() -> None:
    assert "ran out of memory" in alerts.ended_badly("Trainer", status("failed", "CUDA out of memory"), False)[0].text
    assert "failed: broken" in alerts.ended_badly("Trainer", status("failed", "broken"), False)[0].text
    assert "without a last word" in alerts.ended_badly("Trainer", status("training"), False)[0].text
    assert alerts.ended_badly("Trainer", status("stopped"), False) == []
    assert alerts.ended_badly("Trainer", status("training"), True) == []


def test_snapshots_that_nobody_judges_are_an_alert() -> None:
    assert len(alerts.unjudged(2, evaluator_alive=False)) == 1
    assert alerts.unjudged(2, evaluator_alive=True) == alerts.unjudged(0, evaluator_alive=False) == []


def test_a_full_disk_is_announced_before_it_is_full() -> None:
    levels = [[alert.level for alert in alerts.low_disk(free)] for free in (20e9, 9e9, 1e9)]
    assert levels == [[], ["warn"], ["bad"]]


def test_overfitting_is_what_the_evaluator_says_else_a_loss_that_only_rises() -> None:
    (rising,) = alerts.overfitting(validation([0.3, 0.2, 0.22, 0.23, 0.25]), {})
    assert rising.step == 20
    assert alerts.overfitting(validation([0.3, 0.2, 0.22, 0.2, 0.25]), {}) == []
    assert alerts.overfitting(validation([0.3, 0.2, 0.19]), {}) == []
    signals = [
        {"name": "gap", "raised": True, "evidence": "it grows"},
        {"name": "copying", "raised": None, "evidence": ""},
    ]
    told = alerts.overfitting(validation([]), {"latest_signals": signals, "latest_step": 50})
    assert [(alert.text, alert.step) for alert in told] == [("Overfitting: it grows", 50)]


def test_what_programs_want_known_is_told() -> None:
    assert [
        alert.text for alert in alerts.notices(status("training", notices=("a checkpoint was damaged",)), None)
    ] == ["a checkpoint was damaged"]


def test_training_goes_on_after_stops_and_silences() -> None:
    table = train([0.1] * 6)
    table.loc[4:, "timestamp"] += 600
    assert events.pauses(table, {2: "asked"}) == {3: "resumed", 5: "went on after 10 min 01 s"}
    assert events.pauses(table.head(1), {}) == {}
    assert 7 not in events.pauses(table, {6: "asked"})
