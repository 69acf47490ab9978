"""The doctor says what is in the way, and only then fails."""

from __future__ import annotations

import importlib.metadata
import socket
from pathlib import Path

import pytest

from shared.machine import doctor


def finding(folder: Path, subject: str, port: int = 0) -> doctor.Finding:
    return next(found for found in doctor.examine(folder, "127.0.0.1", port) if found.subject == subject)


def test_the_doctor_looks_at_everything_and_writes_nothing(tmp_path: Path) -> None:
    subjects = [found.subject for found in doctor.examine(tmp_path, "127.0.0.1", 0)]
    for subject in ("machine", "libraries", "disk", "file events", "dashboard port"):
        assert subject in subjects
    assert any(subject.startswith("GPU") for subject in subjects)
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_can_look_before_the_runs_folder_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path) in finding(tmp_path / "runs" / "deep", "disk").text
    assert list(tmp_path.iterdir()) == []


def test_file_events_that_arrive_are_ok(tmp_path: Path) -> None:
    assert finding(tmp_path, "file events").verdict == "ok"


def test_file_events_that_never_arrive_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def schedule(self, *_: object) -> None: ...
        def start(self) -> None: ...
        def stop(self) -> None: ...
        def join(self) -> None: ...

    monkeypatch.setattr(doctor, "Observer", Silent)
    monkeypatch.setattr(doctor, "EVENT_SECONDS", 0.01)
    found = finding(tmp_path, "file events")
    assert found.verdict == "note"
    assert "scanning" in found.text


def test_a_full_disk_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOW_DISK_GIB", 1e9)
    assert finding(tmp_path, "disk").verdict == "problem"


def test_a_taken_port_is_a_note_with_the_next_one(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        found = finding(tmp_path, "dashboard port", port)
    assert found.verdict == "note"
    assert f"{port} is taken" in found.text


@pytest.mark.parametrize(
    ("torch", "torchvision", "verdict"),
    [
        ("2.13.0+cpu", "0.28.0", "problem"),
        ("2.13.0+cpu", "0.28.0+cpu", "ok"),
        ("2.13.0", "0.28.0", "ok"),
        ("2.13.0+cpu", None, None),
    ],
)
def test_a_torchvision_for_cuda_beside_a_torch_for_the_cpu_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch: str, torchvision: str | None, verdict: str | None
) -> None:
    true, versions = importlib.metadata.version, {"torch": torch, "torchvision": torchvision}

    def version(name: str) -> str:
        found = versions.get(name, "") or (None if name in versions else true(name))
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = {one.subject: one for one in doctor.examine(tmp_path, "127.0.0.1", 0)}
    assert (found["torchvision"].verdict if verdict else found.get("torchvision")) == verdict
    assert verdict != "problem" or "install torchvision 0.28.0+cpu" in found["torchvision"].text
