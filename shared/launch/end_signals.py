"""The signals by which a program is asked to end, on POSIX and on Windows.

Windows has no SIGHUP, and `Popen.send_signal(SIGTERM)` ends a program there at once, without a save. The one signal
that reaches a program in a process group of its own is CTRL_BREAK (Ctrl-C is switched off in new groups); it arrives as
SIGBREAK, as the key Ctrl-Break does. It therefore stands for every signal but KILL.
"""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TypedDict

IS_WINDOWS = os.name == "nt"
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
CTRL_BREAK_EVENT = 1
CREATE_NEW_PROCESS_GROUP = 0x200
"""Both as Windows numbers them; `signal` and `subprocess` have these names there only."""


class Apart(TypedDict, total=False):
    """Arguments of `Popen`."""

    creationflags: int
    process_group: int
    start_new_session: bool


def ending() -> tuple[signal.Signals, ...]:
    """Those of this system that ask a program to end: it saves first. SIGHUP is none where `nohup` has it ignored."""
    known = (signal.Signals[name] for name in NAMES if name in signal.Signals.__members__)
    return tuple(
        number for number in known if number.name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN
    )


def leave_terminal() -> bool:
    """Print nowhere from here on, if the terminal was closed: each write to it is an error. False: it is there."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    closed = [descriptor for descriptor in (1, 2) if not _writes(descriptor)]
    for descriptor in closed:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    return bool(closed)


def _writes(descriptor: int) -> bool:
    try:
        os.write(descriptor, b"")
    except OSError:
        return False
    return True


def apart(*, in_terminal: bool = False, is_windows: bool = IS_WINDOWS) -> Apart:
    """Arguments of `Popen` for a program that the terminal's Ctrl-C does not reach. in_terminal: it stays on it."""
    if is_windows:
        return {"creationflags": CREATE_NEW_PROCESS_GROUP}
    return {"process_group": 0} if in_terminal else {"start_new_session": True}


def send(
    process: subprocess.Popen[bytes] | subprocess.Popen[str], number: signal.Signals, *, is_windows: bool = IS_WINDOWS
) -> None:
    """Ask a program that was started `apart` to end."""
    process.send_signal(CTRL_BREAK_EVENT if is_windows else number)
