"""What the loop makes of updates that changed nothing: fp16's normal ones pass, those that go on end training."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from shared.config.loading import parse_config
from shared.errors import ConfigError
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


@pytest.mark.parametrize(
    ("losses", "patience", "ends"),
    [
        ([1.0, 0.9, 0.8], 2, False),
        ([1.0, 0.8, 0.9, 0.7, 0.75], 2, False),
        ([1.0, 0.8, 0.8], 1, True),
        ([1.0, 0.7, 0.8, 0.71], 2, True),
        ([1.0, 0.7, NAN, 0.71], 2, True),
        ([1.0, 2.0, 3.0], None, False),
        ([], 1, False),
    ],
)
def test_training_ends_once_no_held_out_loss_was_lower_for_so_long(
    losses: list[float], patience: int | None, ends: bool
) -> None:
    reasons: list[str] = []
    settings: dict[str, Any] = {
        "data": {"path": "p"},
        "train": {"validation_steps": 1, "max_train_steps": 9},
        "stop": {"validation_patience": patience} if patience else {},
    }
    learner: Any = SimpleNamespace(step=4)
    stop: Any = SimpleNamespace(ask=reasons.append)
    writer: Any = SimpleNamespace(held_out_losses=lambda: losses)
    run: Any = None
    trainer = Trainer(run, parse_config(settings), learner, stop, writer)
    trainer._look_at_held_out_losses()
    expected = [f"no held-out loss was lower in the last {patience} (stop.validation_patience)"] if ends else []
    assert reasons == expected
    learner.step = 9
    trainer._look_at_held_out_losses()
    assert reasons == expected, "a run that is complete has not been stopped"
    with pytest.raises(ConfigError, match=r"set train\.validation_steps"):
        parse_config({"data": {"path": "p"}, "stop": {"validation_patience": 3}})
