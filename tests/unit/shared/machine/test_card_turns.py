"""Turns on a card: who has it when, and what happens when one of the two is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.machine import card_turns
from shared.machine.card_turns import ASKED, LEFT, Turn
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.run_dir import RunDir
from tests.conftest import RunMaker


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


class Evaluator(threading.Thread):
    """Asks for the card in a thread of its own, and keeps it until told."""

    def __init__(self, run: RunDir) -> None:
        super().__init__(daemon=True)
        self.run_folder = run
        self.may_wait = True
        self.has_it, self.done = threading.Event(), threading.Event()
        self.answer: bool | None = None
        self.start()

    def run(self) -> None:
        with card_turns.held(self.run_folder, "step 4", lambda: self.may_wait) as self.answer:
            if self.answer:
                self.has_it.set()
                self.done.wait(20)


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_card_is_had_once_the_trainer_has_left_it_and_given_back_afterwards(run: RunDir) -> None:
    with hold_role(run, "trainer"):
        evaluator = Evaluator(run)
        until(lambda: card_turns.wanted(run))
        turn = card_turns.wanted(run)
        assert turn
        assert turn.what == "step 4"
        assert not evaluator.has_it.is_set(), "the trainer is in the middle of a step"
        card_turns.leave(run, turn)
        assert evaluator.has_it.wait(20)
        assert card_turns.wanted(run) == turn
        evaluator.done.set()
        evaluator.join(20)
        assert card_turns.wanted(run) is None
        card_turns.come_back(run)
    assert [path.name for path in run.claims.glob("card*.json")] == []


def test_what_the_trainer_left_for_an_earlier_turn_is_no_answer_to_the_next(run: RunDir) -> None:
    run.claims.mkdir(exist_ok=True)
    with hold_role(run, "trainer"):
        card_turns.leave(run, Turn(id="earlier", host="", pid=1, process_started=0, what=""))
        evaluator = Evaluator(run)
        until(lambda: card_turns.wanted(run))
        evaluator.may_wait = False
        evaluator.join(20)
        assert evaluator.answer is False
        assert not (run.claims / ASKED).exists()


def test_without_a_trainer_the_card_is_free(run: RunDir) -> None:
    with card_turns.held(run, "step 4", lambda: False) as mine:
        assert mine


def test_two_evaluators_ask_one_after_another(run: RunDir) -> None:
    with card_turns.held(run, "step 4", lambda: True):
        other = Evaluator(run)
        other.may_wait = False
        other.join(20)
        assert other.answer is False
        turn = card_turns.wanted(run)
        assert turn
        assert turn.what == "step 4"


def test_a_dead_evaluators_request_does_not_count(run: RunDir, tmp_path: Path) -> None:
    run.claims.mkdir(exist_ok=True)
    with card_turns.held(run, "step 4", lambda: True):
        living = Turn.read(run.claims / ASKED)
        assert card_turns.wanted(run) == living
        living.model_copy(update={"process_started": 1.0}).write(run.claims / ASKED)
        assert card_turns.wanted(run) is None
        living.model_copy(update={"host": "elsewhere"}).write(run.claims / ASKED)
        assert card_turns.wanted(run) is None
    assert not (run.claims / LEFT).exists()
