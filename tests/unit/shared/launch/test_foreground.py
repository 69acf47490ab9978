"""A command's program in the foreground of `run.py`, and the signals that `run.py` alone gets."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PROGRAM = (
    "import signal, sys\n"
    "def end(number, frame): sys.exit(40 + number)\n"
    "signal.signal(signal.SIGINT, end) if signal.getsignal(signal.SIGINT) is signal.default_int_handler else None\n"
    "signal.signal(signal.SIGTERM, end)\n"
    "print('ready', flush=True)\n"
    "signal.pause()\n"
)
RUN_PY = (
    "import os, signal, sys\n"
    "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"  # as a shell starts jobs in the background
    "from shared.launch.attended.foreground import foreground\n"
    f"sys.exit(foreground([sys.executable, '-c', {PROGRAM!r}], dict(os.environ)))\n"
)


@pytest.mark.parametrize(
    ("sent", "got"),
    [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGTERM), (signal.SIGHUP, signal.SIGTERM)],
)
def test_a_signal_to_run_py_alone_reaches_the_program(sent: signal.Signals, got: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", RUN_PY], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(sent)
        assert process.wait(60) == 40 + got
