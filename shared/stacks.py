"""Where a program is, told by itself: on SIGUSR1 it prints the stacks of all its threads to its log.

faulthandler prints them from the signal's handler, also where the program waits for a lock or in a library. Windows has
no such signal, so nothing is printed there.
"""

from __future__ import annotations

import faulthandler
import os
import signal

from shared.interruption import STARTED_BY_RUN_PY

SIGNAL = signal.Signals.__members__.get("SIGUSR1")


def print_when_asked() -> None:
    """From here on, in a program that `run.py` has started: its standard error is its log."""
    if SIGNAL is not None and os.environ.get(STARTED_BY_RUN_PY):
        faulthandler.register(SIGNAL, all_threads=True)  # type: ignore[attr-defined, unused-ignore]


def ask(pid: int) -> bool:
    """Have a program print them; one that does not listen yet is ended by that. False: it cannot be asked."""
    if SIGNAL is None:
        return False
    try:
        os.kill(pid, SIGNAL)
    except OSError:
        return False
    return True
