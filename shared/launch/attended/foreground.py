"""A program that does a whole command, on the terminal of `run.py`."""

from __future__ import annotations

import os
import signal
import subprocess
from types import FrameType

from shared.launch import end_signals

END = {number: signal.SIGINT if number == signal.SIGINT else signal.SIGTERM for number in end_signals.ending()}
"""What `run.py` gets, and what the program gets for it."""


def foreground(command: list[str], environment: dict[str, str]) -> int:
    """Run a program in the foreground.

    Every signal comes through this process, whether Ctrl-C or `kill` sends it: in a process group of its own, the
    program does not get Ctrl-C a second time.
    """
    process: subprocess.Popen[bytes] | None = None
    early: list[signal.Signals] = []

    def end(number: int, _frame: FrameType | None) -> None:
        if process is None:
            early.append(END[signal.Signals(number)])
        else:
            end_signals.send(process, END[signal.Signals(number)])

    def suspend(number: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: both stop, and go on together."""
        if process is not None:
            process.send_signal(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        if process is not None:
            process.send_signal(signal.SIGCONT)

    for number in END:  # before the start: where a shell has let this process ignore SIGINT, the program does not
        signal.signal(number, end)
    if not end_signals.IS_WINDOWS:  # it has no Ctrl-Z
        signal.signal(signal.SIGTSTP, suspend)
    apart = end_signals.apart(in_terminal=True)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, **apart)
    for number in early:
        end_signals.send(process, number)
    return process.wait()
