"""What may be asked of a training run without ending it, and that every question gets its answer."""

from __future__ import annotations

import pytest

from shared.run_folder import requests
from shared.run_folder.records.request import Request, RequestKind
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import utc_now
from tests.conftest import RunMaker, until
from trainer.control_requests import ControlRequests


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def ask(run: RunDir, kind: RequestKind) -> Request:
    """Ask, and let the clock move on: requests count in the order of their times."""
    request = requests.submit(run, kind, by="a test")
    until(lambda: utc_now() > request.created, "the clock to move on", seconds=5)
    return request


def test_nobody_asking_means_going_on(run: RunDir) -> None:
    control_requests = ControlRequests(run)
    assert not control_requests.wants_snapshot(1)
    assert not control_requests.is_paused(1)


def test_a_snapshot_is_wanted_once_and_done_when_it_is_published(run: RunDir) -> None:
    control_requests, request = ControlRequests(run), ask(run, "snapshot-now")
    assert requests.submit(run, "snapshot-now", by="another tab") == request
    assert control_requests.wants_snapshot(4)
    assert not control_requests.wants_snapshot(5)
    control_requests.settle()
    answer = requests.read_answer(run, request)
    assert answer.seen
    assert (answer.step, answer.done) == (4, None)
    run.snapshot(4).mkdir()
    control_requests.settle()
    assert requests.read_answer(run, request).done
    assert ask(run, "snapshot-now") != request, "a new one can be asked for"
    assert control_requests.wants_snapshot(6)


def test_a_snapshot_that_never_came_is_answered_with_the_reason(run: RunDir) -> None:
    control_requests, request = ControlRequests(run), ask(run, "snapshot-now")
    assert control_requests.wants_snapshot(4)
    late = ask(run, "pause")
    control_requests.close()
    assert requests.read_answer(run, request).ignored == "the snapshot of step 4 could not be published"
    assert requests.read_answer(run, late).ignored == "training has ended"


def test_a_pause_holds_until_it_is_lifted_and_asking_twice_changes_nothing(run: RunDir) -> None:
    control_requests, pause = ControlRequests(run), ask(run, "pause")
    assert control_requests.is_paused(3)
    answer = requests.read_answer(run, pause)
    assert answer.seen
    assert answer.done
    assert answer.step == 3
    ask(run, "pause")
    assert control_requests.is_paused(3)
    resume = ask(run, "resume")
    assert not control_requests.is_paused(3)
    assert requests.read_answer(run, resume).done
    ask(run, "resume")
    assert not control_requests.is_paused(4)


@pytest.mark.parametrize(("kinds", "held"), [(("pause", "resume"), False), (("resume", "pause"), True)])
def test_pause_and_resume_count_in_the_order_they_were_asked_for(
    run: RunDir, kinds: tuple[RequestKind, ...], held: bool
) -> None:
    for kind in kinds:
        ask(run, kind)
    assert ControlRequests(run).is_paused(1) == held


def test_a_pause_of_an_earlier_session_holds_nobody(run: RunDir) -> None:
    pause = ask(run, "pause")
    requests.ignore_before(run, utc_now())
    assert not ControlRequests(run).is_paused(1)
    assert requests.read_answer(run, pause).ignored

    assert ControlRequests(run).is_paused(2) is False
    held = ControlRequests(run)
    ask(run, "pause")
    assert held.is_paused(2)
    assert not ControlRequests(run).is_paused(3), "what was done is not done again by the next session"


def test_a_pause_is_no_stop(run: RunDir) -> None:
    ask(run, "pause")
    assert requests.requests(run) == []
    assert requests.open_requests(run, "pause")
