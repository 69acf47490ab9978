"""Manifests and other records: what is written comes back, and any other bytes are one error with a cure."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import strategies as st

from shared.files.publication import publish, read_manifest, verify
from shared.run_folder.notes import Notes
from shared.run_folder.records.best import Best
from shared.run_folder.records.deleted_snapshot import DeletedSnapshot
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.manifest import FileEntry, Manifest
from shared.run_folder.records.process_status import ProcessStatus
from shared.run_folder.records.record import Record
from shared.run_folder.records.request import Request
from shared.run_folder.records.run_record import RunRecord
from tests.properties import EXAMPLES, error_of, holds

RECORDS: list[type[Record]] = [
    Manifest,
    DeletedSnapshot,
    EvaluationResult,
    Best,
    Request,
    ProcessStatus,
    RunRecord,
    Notes,
]
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT)
TREES = st.recursive(
    LEAVES, lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(TEXT, part, max_size=3))
)
ENTRIES = st.builds(FileEntry, name=TEXT, size=st.integers(0, 2**60), sha256=TEXT)
MANIFESTS = st.builds(
    Manifest,
    kind=st.sampled_from(["snapshot", "checkpoint", "evaluation", "references", "dataset"]),
    run_id=TEXT,
    step=st.integers(0, 10**15),
    details=st.dictionaries(TEXT, TREES, max_size=3),
    files=st.lists(ENTRIES, max_size=3).map(tuple),
)


@EXAMPLES
def test_a_manifest_comes_back_equal_with_the_same_digest(examples: int, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"

    def check(manifest: Manifest) -> None:
        manifest.write(path)
        again = Manifest.read(path)
        assert again == manifest
        assert again.digest() == manifest.digest()

    holds(check, examples, MANIFESTS)


@EXAMPLES
def test_any_other_bytes_are_one_error_with_a_cure(examples: int, tmp_path: Path) -> None:
    path = tmp_path / "record.json"

    def check(data: bytes, kind: type[Record]) -> None:
        path.write_bytes(data)
        error = error_of(lambda: kind.read(path))
        assert error is None or (str(path) in str(error) and error.hint)

    some = st.one_of(
        st.binary(max_size=40),
        TREES.map(lambda tree: json.dumps(tree).encode()),
        st.dictionaries(
            st.sampled_from(["schema", "step", "run_id", "kind", "files", "samples", "status", "texts"]), TREES
        ).map(lambda tree: json.dumps(tree).encode()),
        st.just(b"[" * 100_000),
        st.just(b'{"schema": ' + b"9" * 5000 + b"}"),
    )
    holds(check, examples, some, st.sampled_from(RECORDS))


@EXAMPLES
def test_a_change_of_any_byte_of_a_published_file_is_noticed(examples: int, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4
    (tmp_path / "snapshots").mkdir()
    folder = tmp_path / "snapshots" / "step-00000001"
    manifest = Manifest(kind="snapshot", run_id="r", step=1)

    def fill(stage: Path) -> None:
        (stage / "weights").write_bytes(content)

    publish(tmp_path / ".staging", folder, manifest, fill)
    assert read_manifest(folder)

    def check(at: int, by: int, kept: int) -> None:
        changed = bytearray(content)
        changed[at % len(changed)] ^= by
        (folder / "weights").write_bytes(bytes(changed)[:kept])
        error = error_of(lambda: verify(folder))
        assert error
        assert error.hint

    holds(check, examples, st.integers(0, 2**20), st.integers(1, 255), st.integers(0, len(content)))
