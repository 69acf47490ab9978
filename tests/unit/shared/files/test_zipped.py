"""A folder as one zip: everything in it, whole or not at all."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from shared.files.zipped import zip_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "content" / "inner").mkdir(parents=True)
    (tmp_path / "content" / "inner" / "a.txt").write_bytes(b"a")
    (tmp_path / "content" / "b.txt").write_bytes(b"b")
    (tmp_path / "content" / "left.json").write_bytes(b"{}")
    return tmp_path / "content"


def test_a_zip_holds_the_folder_without_what_is_left_out_and_replaces_an_older_one(folder: Path) -> None:
    target = folder.with_name("out.zip")
    target.write_bytes(b"older")
    zip_folder(folder, target, without={"left.json"})
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == ["b.txt", "inner/", "inner/a.txt"]
        assert archive.read("inner/a.txt") == b"a"
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_STORED}
    assert sorted(path.name for path in folder.parent.iterdir()) == ["content", "out.zip"]


def test_a_zip_that_cannot_be_finished_leaves_the_older_one_and_nothing_beside_it(folder: Path) -> None:
    target = folder.with_name("out.zip")
    target.write_bytes(b"older")
    (folder / "c").symlink_to(folder / "nowhere")
    with pytest.raises(FileNotFoundError):
        zip_folder(folder, target)
    assert target.read_bytes() == b"older"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["content", "out.zip"]
