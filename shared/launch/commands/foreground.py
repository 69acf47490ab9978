"""A program that does a whole command, on the terminal of `run.py`."""

from __future__ import annotations

import signal
import subprocess


def foreground(command: list[str], environment: dict[str, str]) -> int:
    """Run a program in the foreground; Ctrl-C is its to handle."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)

    def end(*_signal: object) -> None:
        process.terminate()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
    return process.wait()
