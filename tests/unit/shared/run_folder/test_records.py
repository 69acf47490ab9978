"""JSON records: written whole, read back checked, tolerant of newer minors, never of newer majors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.errors import RunFolderError
from shared.run_folder.records.best import Best
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.records.record import Record
from shared.run_folder.records.request import Request
from shared.run_folder.times import parse_time, seconds_since, utc_now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.json"


def request(**changes: object) -> Request:
    return Request.model_validate({"id": "stop-1", "kind": "stop", "run_id": "r", "by": "a test", **changes})


def test_a_record_reads_back_equal(path: Path) -> None:
    written = request(by="Jürgen 👗")
    written.write(path)
    assert Request.read(path) == written
    assert json.loads(path.read_text(encoding="utf-8"))["schema"] == "1.0"
    assert [file.name for file in path.parent.iterdir()] == ["record.json"]


def test_fields_of_a_newer_minor_version_are_ignored(path: Path) -> None:
    tree = {**json.loads(request().to_json()), "schema": "1.7", "mood": "good"}
    path.write_text(json.dumps(tree))
    assert Request.read(path).id == "stop-1"


@pytest.mark.parametrize("schema", ["2.0", "17.3"])
def test_a_newer_major_version_is_refused_with_a_cure(path: Path, schema: str) -> None:
    path.write_text(json.dumps({**json.loads(request().to_json()), "schema": schema}))
    with pytest.raises(RunFolderError, match=f"schema {schema}") as caught:
        Request.read(path)
    assert "upgrade" in caught.value.hint


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe",
        b"null",
        b'{"schema": "one"}',
        b'{"schema": "1.0", "id": 3}',
        b'{"id": "x"}',
        b'{"step": NaN}',
        b'{"step": -Infinity}',
    ],
)
def test_a_damaged_record_is_refused_by_name(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"record\.json"):
        Request.read(path)


def test_a_record_that_is_not_there_yet_is_told_from_a_damaged_one(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Record.read(path)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_never_reaches_a_record(path: Path, number: float) -> None:
    manifest = Manifest(kind="snapshot", run_id="r", step=1, details={"loss": number})
    with pytest.raises(ValueError, match="JSON"):
        manifest.write(path)
    assert list(path.parent.iterdir()) == []


def test_a_blank_metric_stays_blank(path: Path) -> None:
    sample = Sample(
        prompt_id="a", prompt="b", seed=1, image="c.png", batch=0, metrics={"clip_t": None, "color_loss": 0.5}
    )
    EvaluationResult(run_id="r", step=3, status="ok", samples=(sample,)).write(path)
    assert EvaluationResult.read(path).samples[0].metrics == {"clip_t": None, "color_loss": 0.5}


def test_a_failed_replacement_leaves_the_old_record_and_no_litter(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request(by="first").write(path)
    monkeypatch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        request(by="second").write(path)
    assert Request.read(path).by == "first"
    assert [file.name for file in path.parent.iterdir()] == ["record.json"]


def test_times_are_utc_and_carry_their_zone() -> None:
    now = utc_now()
    assert now.endswith("+00:00")
    assert parse_time(now).utcoffset() is not None
    assert seconds_since("2026-01-01T00:00:00.000+00:00", parse_time("2026-01-01T00:01:30.500+00:00")) == 90.5


def test_a_digest_covers_names_and_contents() -> None:
    def digest(*files: tuple[str, str]) -> str:
        entries = [{"name": name, "size": 1, "sha256": content} for name, content in files]
        return Manifest.model_validate({"kind": "snapshot", "run_id": "r", "step": 1, "files": entries}).digest()

    assert digest(("a", "1"), ("b", "2")) == digest(("b", "2"), ("a", "1"))
    assert len({digest(("a", "1")), digest(("a", "2")), digest(("b", "1")), digest(("a", "1"), ("b", "2"))}) == 4


def test_a_record_never_changes() -> None:
    best = Best(step=1, snapshot="snapshots/step-00000001", reason="r", better_than_base=False, num_evaluated=1)
    with pytest.raises(ValueError, match="frozen"):
        best.step = 2  # type: ignore[misc]
