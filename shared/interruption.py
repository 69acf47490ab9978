"""Ctrl-C: while a program loads its libraries it ends at once, since nothing has begun; later it ends in order.

A program calls `end_at_once` before its other imports, which may take half a minute. Imports only what loads at once.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

EXIT_CODE = 130
"""As shells report a program that Ctrl-C has ended."""
STARTED_BY_RUN_PY = "DARKROOM_PARENT_PIPE"
"""Set in the environment of programs that `run.py` starts: it says for them that they were interrupted."""


def end_at_once() -> None:
    """From here on, and until `begin`. Where the shell has told this program to ignore Ctrl-C, it does."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def begin() -> None:
    """From here on, Ctrl-C is a KeyboardInterrupt, so that what is half done can be undone."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def say() -> None:
    """The one line that a person reads."""
    if not os.environ.get(STARTED_BY_RUN_PY):
        os.write(2, b"interrupted\n")


def _leave(number: int, frame: FrameType | None) -> None:
    say()
    os._exit(EXIT_CODE)
