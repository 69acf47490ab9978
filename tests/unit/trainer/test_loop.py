"""What the loop makes of updates that changed nothing: fp16's normal ones pass, those that go on end training."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from shared.config.loading import parse_config
from trainer import loop
from trainer.learner import Update
from trainer.loop import Trainer

INF, NAN = float("inf"), float("nan")


class Guarded:
    """A loop that is shown updates; what it says and whether it fails."""

    def __init__(self, max_bad_steps: int = 3) -> None:
        self.notices: list[str] = []
        self.failure: str | None = None
        self.learner: Any = SimpleNamespace(step=0, is_finite=lambda: True)
        stop: Any = SimpleNamespace(fail=self.fail)
        writer: Any = SimpleNamespace(status=SimpleNamespace(notice=self.notices.append))
        config = parse_config({"data": {"path": "p"}, "stop": {"max_bad_steps": max_bad_steps}})
        run: Any = None
        self.trainer = Trainer(run, config, self.learner, stop, writer)

    def fail(self, text: str, hint: str) -> None:
        self.failure = self.failure or text

    def show(self, loss: float, grad_norm: float, scale: float | None = None) -> None:
        self.learner.step += 1
        self.trainer._guard(Update(loss, grad_norm, 1e-4, 0.1, scale))


def test_the_first_overflows_of_fp16_are_no_alarm_however_many_its_scaler_needs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    guarded = Guarded()
    with caplog.at_level(logging.INFO, loop.log.name):
        for halvings in range(1, 17):
            guarded.show(0.1, INF if halvings % 2 else NAN, 65536 / 2**halvings)
        guarded.show(0.1, 0.5, 1.0)
    assert (guarded.notices, guarded.failure) == ([], None)
    assert "step 1 skipped: fp16 overflowed; the loss is now scaled by 32768" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.INFO}


def test_a_scale_that_collapses_is_an_alarm_and_ends_training() -> None:
    guarded = Guarded(max_bad_steps=3)
    for halvings in range(1, 19):
        guarded.show(0.1, INF, 65536 / 2**halvings)
    assert guarded.notices == ["step 17 skipped: loss 0.1, gradient norm inf"]
    assert guarded.failure is None
    guarded.show(0.1, INF, 0.125)
    assert guarded.failure == "3 steps in a row without finite gradients, up to 19"


def test_a_loss_that_is_not_finite_is_an_alarm_whatever_the_scale() -> None:
    guarded = Guarded(max_bad_steps=2)
    guarded.show(NAN, NAN, 32768.0)
    assert guarded.notices == ["step 1 skipped: loss nan, gradient norm nan"]
    guarded.show(NAN, NAN, 16384.0)
    assert guarded.failure == "2 steps in a row without finite gradients, up to 2"


def test_without_a_scaler_every_overflow_counts() -> None:
    guarded = Guarded(max_bad_steps=2)
    guarded.show(0.1, INF)
    guarded.show(0.1, 0.5)
    guarded.show(0.1, INF)
    assert len(guarded.notices) == 2
    assert guarded.failure is None
    guarded.show(0.1, INF)
    assert guarded.failure


def test_a_search_in_between_does_not_make_bad_steps_good() -> None:
    guarded = Guarded(max_bad_steps=2)
    guarded.show(NAN, NAN, 4.0)
    guarded.show(0.1, INF, 2.0)
    guarded.show(NAN, NAN, 1.0)
    assert guarded.failure


def test_what_does_not_fit_and_that_it_fits_again_are_told_once_each() -> None:
    guarded = Guarded()
    for note in ("", "in pieces of 2", "in pieces of 2", "", ""):
        guarded.learner.note = note
        assert guarded.trainer.writer
        guarded.trainer._report_note(guarded.trainer.writer)
    assert guarded.notices == ["in pieces of 2", "whole batches fit into memory again"]
