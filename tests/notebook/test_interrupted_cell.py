"""F37: somebody presses the stop button of a notebook. The program of the cell is told once, saves and ends."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

from tests.conftest import ROOT, environment

PROGRAM = """
import signal, sys, time
heard = []
signal.signal(signal.SIGINT, lambda *_: heard.append(1))
print("step 1/100", flush=True)
deadline = time.monotonic() + 60
while not heard and time.monotonic() < deadline:
    time.sleep(0.02)
time.sleep(0.5)
print(f"saved after {len(heard)} signal", flush=True)
"""
CELL = """
from shared.notebook import session
session._command = lambda name, *words: [{python!r}, {program!r}]
run = session.Session("dress", {folder!r}, "pocket", local={folder!r}, kept={folder!r})
run.place = session.Place(run.place.name, run.place.local, None, run.place.earlier, run.place.seconds)
run._command("train")
print("the cell ended by itself")
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows' kernels are interrupted by an event")
def test_an_interrupted_cell_saves_and_ends_as_by_ctrl_c(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    manager, client = start_new_kernel(env=environment(PYTHONPATH=str(ROOT)), cwd=str(ROOT))
    try:
        client.execute(CELL.format(python=sys.executable, program=str(program), folder=str(tmp_path)))
        said, is_told, deadline = "", False, time.monotonic() + 60
        while time.monotonic() < deadline:
            message = client.get_iopub_msg(timeout=60)
            content = message["content"]
            said += content.get("text", "") + "".join(content.get("traceback", ()))
            if "step 1/100" in said and not is_told:
                is_told = True
                manager.interrupt_kernel()
            if message["msg_type"] == "status" and content["execution_state"] == "idle" and is_told:
                break
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert "stopping: the step is finished and saved" in said
    assert "saved after 1 signal" in said
    assert "the cell ended by itself" in said
    assert "Traceback" not in said
