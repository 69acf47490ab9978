"""F57: tokens of the environment are written down nowhere: not in a run folder, not in a report, not by the doctor."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard import report
from dashboard.data.reader import RunReader
from shared.launch import archive
from shared.machine import doctor
from shared.run_folder.run_dir import RunDir
from tests.conftest import Warm
from tests.integration.conftest import TOKENS


def leaked(text: bytes) -> list[str]:
    """Names of the variables whose value stands there."""
    return [name for name, token in TOKENS.items() if token.encode() in text]


def test_no_token_is_in_any_file_of_a_run(finished: RunDir) -> None:
    files = [path for path in finished.path.rglob("*") if path.is_file()]
    assert len(files) > 30
    assert {path.name: found for path in files if (found := leaked(path.read_bytes()))} == {}


def test_no_token_is_in_what_is_published_exported_or_archived(finished: RunDir, warm: Warm, tmp_path: Path) -> None:
    for module, *arguments in (
        ("tasks.publish", "--to", tmp_path / "published"),
        ("tasks.export", "--format", "kohya", "--output", tmp_path / "kohya.safetensors"),
    ):
        program = warm.start(module, finished.path, *arguments, environment=TOKENS)
        assert program.wait() == 0, program.stderr()
        assert leaked((program.stdout() + program.stderr()).encode()) == []
    archive.write(finished, tmp_path / "all.zip")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 4
    assert {path.name: found for path in files if (found := leaked(path.read_bytes()))} == {}


def test_no_token_is_in_a_report_or_told_by_the_doctor(finished: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, token in TOKENS.items():
        monkeypatch.setenv(name, token)
    assert leaked(report.render(RunReader(finished, finished.read_record().run_id)).encode()) == []
    found = doctor.examine(finished.path.parent, "127.0.0.1", 0)
    assert leaked(" ".join(f"{one.subject} {one.text}" for one in found).encode()) == []
    assert leaked(b"x" + TOKENS["HF_TOKEN"].encode()) == ["HF_TOKEN"]
