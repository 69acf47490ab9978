"""How programs are asked to end, here and on Windows."""

from __future__ import annotations

import enum
import signal
import subprocess
import sys

import pytest

from shared.launch import end_signals
from tests.conftest import ROOT

SAYS = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print('on', flush=True); input()"


class OnWindows(enum.IntEnum):
    """The signals that Python knows there."""

    SIGINT, SIGILL, SIGFPE, SIGSEGV, SIGTERM, SIGBREAK, SIGABRT = 2, 4, 8, 11, 15, 21, 22


class Recorded:
    """Stands in for `Popen`."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def send_signal(self, number: int) -> None:
        self.sent.append(number)


def test_windows_is_asked_by_ctrl_break_whatever_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Recorded()
    for number in (signal.SIGINT, signal.SIGTERM):
        end_signals.send(process, number, is_windows=True)  # type: ignore[arg-type]
    assert process.sent == [end_signals.CTRL_BREAK_EVENT] * 2
    assert end_signals.apart(is_windows=True) == {"creationflags": 0x200}
    monkeypatch.setattr(signal, "Signals", OnWindows)
    assert [number.name for number in end_signals.ending()] == ["SIGINT", "SIGTERM", "SIGBREAK"]


def test_a_program_apart_hears_the_signal_that_is_sent() -> None:
    command = [sys.executable, "-c", SAYS]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, **end_signals.apart(is_windows=False)) as process:
        assert process.stdout
        assert process.stdout.readline() == b"on\n"
        end_signals.send(process, signal.SIGTERM, is_windows=False)
        assert process.wait() == 7
    assert {number.name for number in end_signals.ending()} == {"SIGINT", "SIGTERM", "SIGHUP"}


SAYS_WHICH = "from shared.launch import end_signals; print(*(number.name for number in end_signals.ending()))"


def test_nohup_keeps_a_program_from_ending_with_its_terminal() -> None:
    said = subprocess.run(
        ["sh", "-c", f"trap '' HUP; exec {sys.executable} -c '{SAYS_WHICH}'"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert said.stdout.split() == ["SIGINT", "SIGTERM"], said.stderr


def test_nothing_is_left_that_works() -> None:
    assert not end_signals.leave_terminal()
