"""Captions changed in every form of a data set, each change kept, undone byte for byte, never over another's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from shared.config.loading import parse_config
from shared.data.editing import captioned, history
from shared.data.editing.captioned import Captioned
from shared.data.editing.history import ConflictError
from shared.data.editing.tags import replaced
from shared.errors import DataError

CAPTIONS = ("a red dress", "blue shirt, studio")


def pictures(folder: Path, names: tuple[str, ...] = ("a.png", "b.png")) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64)).save(folder / name)
    return folder


def read(path: Path) -> Captioned:
    return captioned.read(parse_config({"data": {"path": str(path), "trigger_word": "ohwx"}}))


def texts_of(path: Path) -> list[str]:
    return [pair.caption for pair in read(path).pairs]


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file() and ".darkroom" not in file.parts)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def text_files(folder: Path) -> Path:
    pictures(folder)
    (folder / "a.txt").write_bytes(b"a red\r\ndress\n")
    (folder / "b.caption").write_bytes("\ufeffblue shirt, studio".encode("utf-16-le"))
    return folder


def json_lines(folder: Path) -> Path:
    rows = [{"file_name": "a.png", "text": CAPTIONS[0], "mood": 1}, {"file_name": "b.png", "prompt": CAPTIONS[1]}]
    (pictures(folder) / "metadata.jsonl").write_bytes("\r\n".join(map(json.dumps, rows)).encode())
    return folder


def semicolons(folder: Path) -> Path:
    text = f'sep=;\nimage;note;caption\na.png;"two\nlines";{CAPTIONS[0]}\nb.png;"";"{CAPTIONS[1]}"\n'
    (pictures(folder) / "table.csv").write_bytes(("\ufeff" + text).encode("utf-16-le"))
    return folder / "table.csv"


def headerless(folder: Path) -> Path:
    (pictures(folder) / "table.csv").write_text(f"a.png,{CAPTIONS[0]}\nb.png,{CAPTIONS[1]}\n", encoding="utf-8-sig")
    return folder


@pytest.mark.parametrize("form", [text_files, json_lines, semicolons, headerless])
def test_captions_are_changed_in_place_and_undone_byte_for_byte(form: object, tmp_path: Path) -> None:
    path: Path = form(tmp_path / "data")  # type: ignore[operator]
    folder, before = tmp_path / "data", contents(tmp_path / "data")
    assert texts_of(path) == list(CAPTIONS)
    one = read(path).history.make("edit", "", read(path).entries({"a": ' a "green", dress; new '}))
    both = read(path).history.make("replace", "x", read(path).entries({"a": "first", "b": "second"}))
    assert texts_of(path) == ["first", "second"]
    read(path).history.undo(both.id)
    assert texts_of(path) == ['a "green", dress; new', CAPTIONS[1]]
    read(path).history.undo(one.id)
    assert contents(folder) == before
    undo = read(path).history.changes()[0]
    read(path).history.undo(undo.change.id)
    assert texts_of(path)[0] == 'a "green", dress; new', "an undo can be undone"
    with pytest.raises(DataError, match="undone already"):
        read(path).history.undo(both.id)


def test_what_somebody_else_has_changed_is_never_written_over(tmp_path: Path) -> None:
    folder = text_files(tmp_path)
    entries = read(folder).entries({"a": "mine", "b": "mine too"})
    (folder / "b.caption").write_text("theirs")
    with pytest.raises(ConflictError) as caught:
        read(folder).history.make("edit", "", entries)
    assert caught.value.ids == ["b"]
    assert texts_of(folder) == [CAPTIONS[0], "theirs"]
    assert read(folder).history.changes() == []
    made = read(folder).history.make("edit", "", entries[:1])
    (folder / "a.txt").write_text("theirs")
    with pytest.raises(ConflictError):
        read(folder).history.undo(made.id)
    assert texts_of(folder) == ["theirs", "theirs"]


def test_a_change_that_fails_midway_leaves_all_captions_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = text_files(tmp_path)
    before, put = contents(folder), history._put
    entries = read(folder).entries({"a": "mine", "b": "mine too"})

    def full(file: Path, text: str | None, encoding: history.Encoding) -> None:
        if text and "mine too" in text:
            raise OSError(28, "No space left on device")
        put(file, text, encoding)

    monkeypatch.setattr(history, "_put", full)
    with pytest.raises(OSError, match="No space left"):
        read(folder).history.make("edit", "", entries)
    assert contents(folder) == before
    assert read(folder).history.changes() == []


def test_a_change_that_was_killed_midway_can_be_undone(tmp_path: Path) -> None:
    folder = text_files(tmp_path)
    before = contents(folder)
    made = read(folder).history.make("edit", "", read(folder).entries({"a": "mine", "b": "mine too"}))
    (folder / "b.caption").write_bytes(before["b.caption"])  # as if its file had not been reached
    read(folder).history.undo(made.id)
    assert contents(folder) == before


def test_the_name_of_a_folder_stays_the_caption_of_its_other_pictures(tmp_path: Path) -> None:
    pictures(tmp_path, ("10_red dress/a.png", "10_red dress/b.png", "5_shirt/c.png"))
    assert texts_of(tmp_path) == ["red dress", "red dress", "shirt"]
    made = read(tmp_path).history.make("edit", "", read(tmp_path).entries({"10_red dress/a": "a dress"}))
    assert texts_of(tmp_path) == ["a dress", "red dress", "shirt"]
    read(tmp_path).history.undo(made.id)
    assert set(contents(tmp_path)) == {"10_red dress/a.png", "10_red dress/b.png", "5_shirt/c.png"}


def test_captions_that_cannot_be_used_or_written_are_refused(tmp_path: Path) -> None:
    folder = text_files(tmp_path / "texts")
    for wrong in ("  ", "x" * 10_001, "a\x07b"):
        with pytest.raises(DataError):
            read(folder).entries({"a": wrong})
    kohya = pictures(tmp_path / "kohya")
    (kohya / "meta.json").write_text(json.dumps({"a.png": CAPTIONS[0], "b.png": {"tags": CAPTIONS[1]}}))
    with pytest.raises(DataError, match="cannot be changed one by one"):
        read(kohya).entries({"a": "new"})


@pytest.mark.parametrize(
    ("caption", "find", "new", "how", "wanted"),
    [
        ("1girl, Red Dress, studio", "red dress", "blue dress", "tag", "1girl, blue dress, studio"),
        ("a red dress, studio", "dress", "skirt", "tag", "a red dress, studio"),
        ("a red dress, studio", "DRESS", "skirt", "text", "a red skirt, studio"),
        ("a, b, c", "b", "", "tag", "a, c"),
        ("a, b, c", "b", "c", "tag", "a, c"),
        ("a, b, b", "b", r"\1", "tag", r"a, \1"),
        ("a.b", ".", "-", "text", "a-b"),
        ("a,b", "x", "y", "tag", "a,b"),
        ("a, a, x", "x", "y", "tag", "a, a, y"),
    ],
)
def test_tags_are_replaced_whole_and_texts_anywhere(caption: str, find: str, new: str, how: str, wanted: str) -> None:
    assert replaced(caption, find, new, how) == wanted  # type: ignore[arg-type]
