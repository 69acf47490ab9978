"""RunMode come as signals, at any moment, several at once."""

from __future__ import annotations

import time

from evaluator.run_mode import Wake
from tests.conftest import run_python

STORM = """
import signal, sys
from evaluator.run_mode import RunMode
run_mode, left = RunMode(follow=True), 50
def again(frame, event, argument):
    global left
    if left and event == "call":
        left -= 1
        signal.raise_signal(signal.SIGTERM)
sys.setprofile(again)
signal.raise_signal(signal.SIGTERM)
sys.setprofile(None)
signal.raise_signal(signal.SIGINT)
run_mode.wake.wait(60)
print(run_mode.current, left < 50)
"""
"""Every function that the handler calls is interrupted by one more signal."""


def test_signals_may_interrupt_one_another() -> None:
    done = run_python("-c", STORM)
    assert done.stdout.split() == ["end", "True"], done.stderr


def test_a_call_ends_the_wait_and_is_forgotten_when_cleared() -> None:
    wake = Wake()
    wake.set()
    started = time.monotonic()
    wake.wait(30)
    assert time.monotonic() - started < 10
    wake.set()
    wake.set()
    wake.clear()
    started = time.monotonic()
    wake.wait(0.05)
    assert time.monotonic() - started >= 0.05
