"""Ends this program when the supervisor that started it ends, even if it was killed.

The supervisor keeps the other end of the child's standard input; the system closes it even on `kill -9`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

from shared import interruption
from shared.launch import end_signals

VARIABLE = interruption.STARTED_BY_RUN_PY


def watch(on_end: Callable[[], None] | None = None) -> None:
    """Start watching if the supervisor asked for it; by default this process gets SIGTERM when the pipe closes."""
    if os.environ.get(VARIABLE) == "1":
        threading.Thread(target=_wait, args=(on_end or _terminate,), name="parent-watch", daemon=True).start()


def _wait(on_end: Callable[[], None]) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    on_end()


def _terminate() -> None:
    if end_signals.IS_WINDOWS:  # where os.kill ends a process at once
        signal.raise_signal(end_signals.ending()[-1])
    else:
        os.kill(os.getpid(), signal.SIGTERM)
