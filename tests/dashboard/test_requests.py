from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dashboard.components import request_status
from dashboard.components.state_line import Fact
from shared.run_folder.records.process_status import ProcessStatus
from shared.run_folder.records.request import Answer, Request, RequestKind

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT_WORK = Fact("Trainer", "training", "heartbeat 1 s ago", "good")


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def asked(seconds: float, kind: RequestKind = "stop") -> Request:
    return Request(id=f"{kind}-1", kind=kind, run_id="r", created=ago(seconds), by="<b>dashboard</b>")


def answered(**stages: str) -> Answer:
    return Answer(request_id="stop-1", **stages)


def trainer(started: float) -> ProcessStatus:
    return ProcessStatus(
        role="trainer",
        run_id="r",
        pid=1,
        host="h",
        process_started=0,
        started=ago(started),
        state="training",
        heartbeat=ago(0),
    )


def test_the_chain_shows_how_far_a_request_has_come() -> None:
    text = request_status.chain_html(asked(12), answered(seen=ago(11)), NOW)
    assert text.count('class="reached"') == 2
    assert "requested<span>12 s ago" in text
    assert 'class="open">saved<' in text
    assert "<b>" not in text


@pytest.mark.parametrize(
    ("kind", "last"), [("stop", "stopped"), ("snapshot-now", "published"), ("pause", "paused"), ("resume", "resumed")]
)
def test_every_kind_of_request_has_its_own_end(kind: RequestKind, last: str) -> None:
    assert [*request_status.stages(asked(1, kind), answered())][-1] == last


@pytest.mark.parametrize(
    ("age", "answer", "expected"),
    [
        (5, {}, ""),
        (14, {}, "has not answered for 14 s"),
        (14, {"seen": ago(13)}, ""),
        (14, {"ignored": "asked of an earlier session"}, "asked of an earlier session"),
        (14, {"stopped": ago(1)}, ""),
    ],
)
def test_a_request_that_goes_nowhere_is_explained(age: float, answer: dict[str, str], expected: str) -> None:
    trouble = request_status.trouble(asked(age), answered(**answer), AT_WORK, NOW)
    assert expected in trouble
    assert bool(expected) == bool(trouble)


def test_a_request_to_a_trainer_that_died_is_not_waited_for() -> None:
    dead = Fact("Trainer", "dead", "pid 1 is gone", "bad")
    assert "ended without answering" in request_status.trouble(asked(3), answered(), dead, NOW)


def order(seconds: float, *prompts: str) -> Request:
    return asked(seconds, "evaluate").model_copy(update={"step": 40, "prompts": prompts})


def test_an_order_ends_when_the_snapshot_is_evaluated_or_drawn() -> None:
    assert [*request_status.stages(order(5), answered(seen=ago(3), done=ago(1)))] == ["requested", "seen", "evaluated"]
    assert [*request_status.stages(order(5, "a red coat"), answered())] == ["requested", "seen", "drawn"]


@pytest.mark.parametrize(
    ("evaluators", "serving", "age", "answer", "expected"),
    [
        (Fact("Evaluator", "idle", "heartbeat 1 s ago", "good"), True, 5, {}, ""),
        (Fact("Evaluator", "evaluating", "step 20", "good"), True, 14, {}, "Waiting for 14 s (evaluating, step 20)"),
        (Fact("Evaluator", "evaluating", "step 40", "good"), True, 14, {"seen": ago(3)}, ""),
        (Fact("Evaluator", "not started", "", "idle"), False, 1, {}, "No evaluator is running to answer (not started)"),
        (Fact("Evaluator", "finished", "1 min ago", "good"), False, 1, {}, "No evaluator is running"),
        (Fact("Evaluator", "dead", "", "bad"), False, 14, {"done": ago(3)}, ""),
        (
            Fact("Evaluator", "idle", "", "good"),
            True,
            1,
            {"ignored": "there is no snapshot of step 7"},
            "no snapshot of step 7",
        ),
    ],
)
def test_an_order_that_nobody_takes_is_explained(
    evaluators: Fact, serving: bool, age: float, answer: dict[str, str], expected: str
) -> None:
    trouble = request_status.evaluation_trouble(order(age), answered(**answer), evaluators, serving, NOW)
    assert expected in trouble
    assert bool(expected) == bool(trouble)


def test_prompts_are_lines_and_their_number_is_limited() -> None:
    assert request_status.prompts_in(" a red coat \n\n  \na hat") == ["a red coat", "a hat"]
    assert request_status.prompts_trouble(["a hat"] * 64) == ""
    assert request_status.prompts_trouble(["a hat"] * 65) == "65 prompts are too many: at most 64 at once."
    assert request_status.prompts_trouble([]) == "Write a prompt first, one per line."


def test_settled_requests_leave_the_page_but_not_a_stop_of_this_session() -> None:
    stopped, done = answered(stopped=ago(500)), answered(done=ago(500))
    assert not request_status.is_past(asked(600), stopped, trainer(started=700), NOW)
    assert request_status.is_past(asked(600), stopped, trainer(started=100), NOW)
    assert not request_status.is_past(asked(600), answered(), trainer(started=100), NOW)
    assert request_status.is_past(asked(600, "pause"), done, trainer(started=700), NOW)
    assert not request_status.is_past(asked(600, "pause"), answered(done=ago(5)), trainer(started=700), NOW)
