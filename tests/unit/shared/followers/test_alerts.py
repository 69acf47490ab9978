from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from examples.fake_run.history import write_history
from examples.fake_run.run import create
from shared.followers import alerts
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.records.best import Best, Signal
from shared.run_folder.records.process_status import ProcessStatus, State
from shared.run_folder.tables import TRAIN_COLUMNS, Appender

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
NAN, INF = float("nan"), float("inf")
STEPS = [1.0, 2.0, 3.0, 4.0]


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


def rising(held_out: list[float], best: Best | None = None) -> list[alerts.Alert]:
    return alerts.overfitting(best, [10.0 * number for number in range(1, len(held_out) + 1)], held_out)


def test_steps_without_a_finite_loss_are_counted_and_grave_when_they_do_not_end() -> None:
    (once,) = alerts.not_finite(STEPS, [0.1, NAN, 0.1, 0.1])
    assert (once.level, once.step) == ("warn", 2)
    (lasting,) = alerts.not_finite(STEPS, [0.1, NAN, INF, NAN])
    assert (lasting.level, lasting.step) == ("bad", 4)
    assert str(lasting) == "3 of the last 4 steps had a NaN loss, most recently step 4."
    assert alerts.not_finite([1.0, 2.0], [0.1, 0.2]) == alerts.not_finite([], []) == []


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
    last = NOW.timestamp() - age
    assert len(alerts.stalled(last, step_seconds, status(state), alive, NOW)) == found
    assert alerts.stalled(None, step_seconds, status(state), alive, NOW) == []


def test_a_program_that_ended_badly_is_told_by_how() -> None:
    kinds = {
        "out of memory": status("failed", "CUDA out of memory"),
        "failed": status("failed", "broken"),
        "gone": status("training"),
    }
    assert [alerts.ended_badly(said, False)[0].kind for said in kinds.values()] == [*kinds]
    assert str(alerts.ended_badly(kinds["failed"], False)[0]) == "Trainer failed: broken"
    assert alerts.ended_badly(status("stopped"), False) == []
    assert alerts.ended_badly(status("training"), True) == []


def test_snapshots_that_nobody_evaluates_are_an_alert() -> None:
    assert len(alerts.unevaluated(2, evaluator_alive=False)) == 1
    assert alerts.unevaluated(2, evaluator_alive=True) == alerts.unevaluated(0, evaluator_alive=False) == []


def test_a_full_disk_is_announced_before_it_is_full() -> None:
    levels = [[alert.level for alert in alerts.low_disk(free)] for free in (20e9, 9e9, 1e9)]
    assert levels == [[], ["warn"], ["bad"]]


def test_overfitting_is_what_the_evaluator_says_else_a_loss_that_only_rises() -> None:
    (found,) = rising([0.3, 0.2, 0.22, 0.23, 0.25])
    assert (found.kind, found.step) == ("rising", 20)
    assert rising([0.3, 0.2, 0.22, 0.2, 0.25]) == rising([0.3, 0.2, 0.19]) == rising([]) == []
    assert rising([0.3, 0.2, NAN, 0.22]) == []
    signals = (
        Signal(name="gap", raised=True, evidence="it grows"),
        Signal(name="copying", raised=None, evidence="no picture to compare"),
    )
    best = Best(
        step=10, snapshot="", reason="", better_than_base=True, num_evaluated=5, latest_step=50, latest_signals=signals
    )
    assert [(str(alert), alert.step) for alert in rising([], best)] == [("Overfitting: it grows", 50)]


def test_what_programs_want_known_is_told() -> None:
    told = alerts.notices(status("training", notices=("a checkpoint was damaged: {}",)), None)
    assert [str(alert) for alert in told] == ["a checkpoint was damaged: {}"]


def test_a_run_tells_its_alerts_by_its_files_alone(tmp_path: Path) -> None:
    fake = create(tmp_path / "run", steps=3000, snapshot_steps=1000)
    write_history(fake)
    now = datetime.now(UTC)
    assert {alert.kind for alert in alerts.in_run(fake.run, now)} - {"low disk"} == {"not finite", "overfitting"}
    table = Appender(fake.run.train_csv, TRAIN_COLUMNS)
    for step in range(3001, 3006):
        table.append({"step": step, "step_seconds": 0.1, "timestamp": now.isoformat()})
    with hold_role(fake.run, "trainer") as trainer:
        trainer.update("training", step=3005)
        found = {alert.kind: alert for alert in alerts.in_run(fake.run, now + timedelta(seconds=90))}
    assert {"not finite", "overfitting", "stalled"} <= found.keys()
    assert (found["not finite"].step, found["not finite"].level) == (3005, "bad")
    assert str(found["stalled"]) == "No step has finished for 90 s; a step usually takes 0 s."


def test_the_tail_of_a_long_table_is_its_last_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("step,loss\n" + "".join(f"{step},{step / 7}\n" for step in range(20_000)) + "20000,0.0")
    rows = alerts.tail_of(path)
    assert [row["step"] for row in rows] == [str(step) for step in range(19_900, 20_000)]
    path.write_text("step,loss\n0,1\n1")
    assert alerts.tail_of(path) == [{"step": "0", "loss": "1"}]
    assert alerts.tail_of(tmp_path / "absent.csv") == []
