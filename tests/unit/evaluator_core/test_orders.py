"""Orders come as signals, at any moment, several at once."""

from __future__ import annotations

import subprocess
import sys
import time

from evaluator.orders import Wake
from tests.conftest import ROOT, environment

STORM = """
import os, signal
from evaluator.orders import Orders
orders = Orders(follow=True)
here = os.getpid()
if os.fork() == 0:
    for _ in range(3000):
        os.kill(here, signal.SIGTERM)
    os.kill(here, signal.SIGINT)
    os._exit(0)
while orders.current != "end":
    orders.wake.clear()
    orders.wake.wait(0.05)
print(orders.current)
"""


def test_a_storm_of_signals_is_one_order() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STORM], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["end"], done.stderr


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
