"""A program that does a whole command, on the terminal of `run.py`."""

from __future__ import annotations

import os
import signal
import subprocess
from types import FrameType

END = {signal.SIGINT: signal.SIGINT, signal.SIGTERM: signal.SIGTERM, signal.SIGHUP: signal.SIGTERM}
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
            process.send_signal(END[signal.Signals(number)])

    def suspend(number: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: both stop, and go on together."""
        if process is not None:
            process.send_signal(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        if process is not None:
            process.send_signal(signal.SIGCONT)

    for number in END:  # before the start: where a shell has let this process ignore SIGINT, the program does not
        signal.signal(number, end)
    signal.signal(signal.SIGTSTP, suspend)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, process_group=0)
    for number in early:
        process.send_signal(number)
    return process.wait()
