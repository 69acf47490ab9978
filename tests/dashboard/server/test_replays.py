"""Verdicts that the server computes in a program of their own."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from dashboard.server.jobs.replays import Ended, Replays
from shared.run_folder.run_dir import RunDir


def test_a_program_that_cannot_be_started_does_not_hold_up_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start(command: list[str], **_: object) -> Ended:
        if str(tmp_path / "first") in command:
            raise OSError("Cannot allocate memory")
        return subprocess.CompletedProcess(command, 0, b"{}", b"")

    monkeypatch.setattr("dashboard.server.jobs.replays.subprocess.run", start)
    replays, done, told = Replays(), threading.Event(), list[Ended]()
    replays.ask(RunDir(tmp_path / "first"), told.append)
    replays.ask(RunDir(tmp_path / "second"), lambda _: done.set())
    assert done.wait(timeout=30)
    assert not told
    assert "first was not computed: Cannot allocate memory" in caplog.text
