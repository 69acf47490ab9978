"""Requests to the trainer: asked once, answered in stages, never carried over to a later session."""

from __future__ import annotations

import pytest

from shared.errors import ConfigError
from shared.run_folder import requests
from shared.run_folder.records.request import Answer, Request
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import utc_now
from tests.conftest import RunMaker, until


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def test_asking_again_for_a_stop_returns_the_open_request(run: RunDir) -> None:
    first = requests.submit_stop(run, by="the dashboard")
    second = requests.submit_stop(run, by="the command line")
    assert second == first
    assert requests.requests(run) == [first]


def test_a_request_is_open_until_it_is_carried_out(run: RunDir) -> None:
    request = requests.submit_stop(run, by="a test")
    for stage in ("seen", "saved"):
        requests.answer(run, request, stage, step=7)
        assert requests.open_requests(run) == [request]
    requests.answer(run, request, "stopped", step=7)
    assert requests.open_requests(run) == []


def test_each_stage_of_an_answer_keeps_the_earlier_ones(run: RunDir) -> None:
    request = requests.submit_stop(run, by="a test")
    assert requests.read_answer(run, request) == Answer(request_id=request.id)
    requests.answer(run, request, "seen", step=7)
    seen = requests.read_answer(run, request).seen
    requests.answer(run, request, "saved", step=8)
    requests.answer(run, request, "stopped", step=8)
    answer = requests.read_answer(run, request)
    assert answer.seen == seen
    assert answer.seen
    assert answer.saved
    assert answer.stopped
    assert answer.seen <= answer.saved <= answer.stopped
    assert (answer.step, answer.ignored) == (8, None)


def test_an_evaluation_is_asked_for_once_for_each_step_and_choice_of_prompts(run: RunDir) -> None:
    first = requests.submit_evaluation(run, 40, by="a test")
    assert requests.submit_evaluation(run, 40, by="another") == first
    others = [
        requests.submit_evaluation(run, 20, by="a test"),
        requests.submit_evaluation(run, 40, by="a test", prompts=["a red  coat", "a hat"]),
    ]
    assert others[1].prompts == ("a red coat", "a hat")
    assert {request.id for request in requests.open_requests(run, "evaluate")} == {
        request.id for request in (first, *others)
    }
    requests.answer(run, first, "done", 40)
    assert requests.submit_evaluation(run, 40, by="a test") != first


@pytest.mark.parametrize("prompts", [["a coat", " "], ["a coat"] * (requests.MAX_PROMPTS + 1)])
def test_prompts_that_cannot_be_drawn_are_refused(run: RunDir, prompts: list[str]) -> None:
    with pytest.raises(ConfigError, match="1 to 64 prompts"):
        requests.submit_evaluation(run, 40, by="a test", prompts=prompts)
    assert not list(run.control.iterdir())


def test_a_trainer_leaves_what_is_asked_of_evaluators_alone(run: RunDir) -> None:
    request = requests.submit_evaluation(run, 40, by="a test")
    requests.ignore_before(run, utc_now())
    assert requests.open_requests(run, "evaluate") == [request]


def test_after_a_stop_a_new_one_can_be_asked_for(run: RunDir) -> None:
    first = requests.submit_stop(run, by="a test")
    requests.answer(run, first, "stopped", step=7)
    second = requests.submit_stop(run, by="a test")
    assert second.id != first.id
    assert requests.open_requests(run) == [second]


def test_what_an_earlier_session_was_asked_is_settled_as_ignored(run: RunDir) -> None:
    stale = requests.submit_stop(run, by="a test")
    before = utc_now()
    until(lambda: utc_now() > before, "the clock to move on", seconds=5)
    requests.ignore_before(run, utc_now())
    assert requests.open_requests(run) == []
    assert requests.read_answer(run, stale).ignored == "asked of an earlier session"
    assert requests.read_answer(run, stale).stopped is None


def test_what_this_session_is_asked_stays_open(run: RunDir) -> None:
    started = utc_now()
    request = requests.submit_stop(run, by="a test")
    requests.ignore_before(run, started)
    assert requests.open_requests(run) == [request]


def test_a_request_of_another_run_is_none_of_ours(run: RunDir) -> None:
    foreign = Request(id="stop-foreign", kind="stop", run_id="another", by="a test")
    foreign.write(run.control / "stop-foreign.json")
    assert requests.requests(run) == []


def test_a_damaged_or_renamed_request_is_no_request(run: RunDir) -> None:
    request = requests.submit_stop(run, by="a test")
    (run.control / f"{request.id}.json").rename(run.control / "stop-copy.json")
    (run.control / "stop-half.json").write_text('{"id": "stop-half", "ki')
    (run.control / "stop-pause.json").write_text('{"id": "stop-pause", "kind": "dance", "run_id": "x", "by": "y"}')
    assert requests.requests(run) == []


def test_a_damaged_answer_counts_as_none(run: RunDir) -> None:
    request = requests.submit_stop(run, by="a test")
    (run.control / f"{request.id}.answer.json").write_text("{")
    assert requests.open_requests(run) == [request]


def test_requests_come_oldest_first(run: RunDir) -> None:
    run_id = run.read_record().run_id
    for name, created in (("stop-b", "2026-01-02T00:00:00+00:00"), ("stop-a", "2026-01-03T00:00:00+00:00")):
        Request(id=name, kind="stop", run_id=run_id, by="a test", created=created).write(run.control / f"{name}.json")
    assert [request.id for request in requests.requests(run)] == ["stop-b", "stop-a"]


def test_requests_of_one_kind_do_not_stand_for_another(run: RunDir) -> None:
    pause = requests.submit(run, "pause", by="a test")
    stop = requests.submit_stop(run, by="a test")
    assert (requests.open_requests(run, "pause"), requests.open_requests(run)) == ([pause], [stop])
    requests.answer(run, pause, "done", step=3)
    assert requests.open_requests(run, "pause") == []
    assert requests.open_requests(run) == [stop]
    forged = stop.model_copy(update={"id": "resume-x"})
    forged.write(run.control / "resume-x.json")
    assert requests.requests(run, "resume") == [], "the name and the kind must agree"
