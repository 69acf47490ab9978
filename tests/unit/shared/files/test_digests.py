"""Remembered digests: never a wrong one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from shared.files import digests
from shared.files.digests import Digests
from shared.files.publication import sha256


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    age(path, 60)
    return path


def age(path: Path, seconds: float) -> None:
    past = time.time() - seconds
    os.utime(path, (past, past))


def test_an_unchanged_file_is_read_once(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Digests(tmp_path / "d.json")
    expected = first(file)
    assert expected == sha256(file)
    first.save()
    monkeypatch.setattr(digests, "sha256", lambda path: pytest.fail("read again"))
    assert Digests(tmp_path / "d.json")(file) == expected


def test_a_changed_file_is_read_again(tmp_path: Path, file: Path) -> None:
    first = Digests(tmp_path / "d.json")
    first(file)
    first.save()
    file.write_bytes(b"two")
    assert Digests(tmp_path / "d.json")(file) == sha256(file)


def test_a_file_that_may_still_change_within_the_clock_is_not_remembered(tmp_path: Path, file: Path) -> None:
    age(file, 0)
    first = Digests(tmp_path / "d.json")
    first(file)
    first.save()
    assert not (tmp_path / "d.json").exists()


def test_two_learners_keep_what_each_other_learned(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other_file = tmp_path / "b.png"
    other_file.write_bytes(b"other")
    age(other_file, 60)
    one, two = Digests(tmp_path / "d.json"), Digests(tmp_path / "d.json")
    one(file), two(other_file)
    one.save(), two.save()
    monkeypatch.setattr(digests, "sha256", lambda path: pytest.fail("read again"))
    third = Digests(tmp_path / "d.json")
    third(file), third(other_file)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b'{"a": ["x", "y", "z"]}', b'{"a": [1, 2'])
def test_a_damaged_memory_is_no_memory(tmp_path: Path, file: Path, content: bytes) -> None:
    (tmp_path / "d.json").write_bytes(content)
    assert Digests(tmp_path / "d.json")(file) == sha256(file)
