"""The trainer leaves the card to an evaluator between two steps, and goes on as if nothing had happened."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from shared.config.loading import parse_config
from shared.errors import ConfigError
from shared.machine import card_turns
from shared.machine.card_turns import ASKED, LEFT, Turn
from shared.run_folder.run_dir import RunDir
from tests.conftest import RunMaker
from trainer import loop
from trainer.loop import Trainer


class Waiting:
    """A loop whose evaluator has the card for two polls."""

    def __init__(self, run: RunDir, monkeypatch: pytest.MonkeyPatch, stop_after: int = 99) -> None:
        self.run, self.events, self.polls = run, list[str](), 0
        learner: Any = SimpleNamespace(
            step=4,
            leave_device=lambda: self.events.append("left"),
            return_to_device=lambda: self.events.append("returned"),
        )
        stop: Any = SimpleNamespace(reason=lambda step: "requested" if self.polls >= stop_after else None)
        status = SimpleNamespace(update=self.update)
        self.writer: Any = SimpleNamespace(
            status=status,
            control_requests=SimpleNamespace(is_paused=lambda step: False),
            limit=SimpleNamespace(is_up=lambda seconds: False, limit=None),
            save_seconds=0.0,
            need=None,
        )
        config = parse_config({"data": {"path": "p"}, "evaluation": {"turns": True}})
        monkeypatch.setattr(loop.disk, "shortage", lambda path, need: None)
        monkeypatch.setattr(loop.time, "sleep", self.poll)
        self.trainer = Trainer(run, config, learner, stop, self.writer)

    def update(self, state: str | None = None, **changes: object) -> None:
        self.events.append(f"{state}: {str(changes['message']).partition(' for')[0]}")

    def poll(self, seconds: float) -> None:
        self.polls += 1
        assert (self.run.claims / LEFT).exists()
        if self.polls == 2:
            (self.run.claims / ASKED).unlink()

    def ask(self) -> None:
        self.run.claims.mkdir(exist_ok=True)
        started = psutil.Process().create_time()
        turn = Turn(id="a", host=os.uname().nodename, pid=os.getpid(), process_started=started, what="step 4")
        turn.write(self.run.claims / ASKED)


def test_it_leaves_says_so_waits_and_returns(make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting(make_paper_run(), monkeypatch)
    assert waiting.trainer._give_turn(waiting.writer) is False, "nobody asks"
    waiting.ask()
    assert waiting.trainer._give_turn(waiting.writer) is True
    assert waiting.events == ["left", *2 * ["waiting: step 4 has the card"], "returned"]
    assert not (waiting.run.claims / LEFT).exists()
    assert "s for the evaluator in all" in waiting.trainer._given
    assert card_turns.wanted(waiting.run) is None


def test_training_that_is_to_end_does_not_come_back(make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting(make_paper_run(), monkeypatch, stop_after=1)
    waiting.ask()
    assert waiting.trainer._give_turn(waiting.writer) is True
    assert "returned" not in waiting.events
    assert (waiting.run.claims / LEFT).exists(), "the evaluator goes on"


def test_what_cannot_take_turns_is_refused_with_every_reason() -> None:
    tree = {
        "data": {"path": "p"},
        "evaluation": {"turns": True},
        "train": {"num_processes": 2},
        "model": {"quantization": "4bit"},
    }
    with pytest.raises(ConfigError, match=r"does not go with train.num_processes = 2 and model.quantization = '4bit'"):
        parse_config(tree)
