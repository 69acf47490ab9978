"""Tables as they come: written on another system, with other columns, for pictures that were moved since."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from unicodedata import normalize

import pytest

from shared.data.survey import survey
from shared.errors import DataError
from tests.unit.shared.data.test_dataset import add, metadata, scan

ROWS = [("a.png", "a red dress"), ("sub/b.png", "a coat"), ("sub/é.png", "a hat")]
WANTED = [("a", "a red dress"), ("sub/b", "a coat"), ("sub/é", "a hat")]


def write_jsonl(folder: Path, rows: list[tuple[str, str]]) -> Path:
    metadata(folder, *({"file_name": name, "text": caption} for name, caption in rows))
    return folder


def write_metadata_csv(folder: Path, rows: list[tuple[str, str]]) -> Path:
    return write_csv(folder, rows, "metadata.csv").parent


def write_csv(folder: Path, rows: list[tuple[str, str]], name: str = "all.csv") -> Path:
    path = folder / name
    path.write_text("file_name,text\n" + "".join(f'"{name}","{caption}"\n' for name, caption in rows), encoding="utf-8")
    return path


FORMS = {"metadata.jsonl": write_jsonl, "metadata.csv": write_metadata_csv, "a CSV file": write_csv}

SPELLINGS: dict[str, Callable[[str], str]] = {
    "a prefix that is the folder itself": lambda name: f"train/{name}",
    "a path from above the folder": lambda name: f"data/train/{name}",
    "backslashes": lambda name: name.replace("/", "\\"),
    "backslashes from above": lambda name: "train\\" + name.replace("/", "\\"),
    "another machine": lambda name: f"/home/someone/pictures/{name}",
    "another machine's drive": lambda name: "D:\\pictures\\train\\" + name.replace("/", "\\"),
    "a dot": lambda name: f"./{name}",
    "a way up and down": lambda name: f"../train/{name}",
    "no ending": lambda name: name.removesuffix(".png"),
    "the ending before conversion": lambda name: name.replace(".png", ".webp"),
    "other letters": str.upper,
    "decomposed accents": lambda name: normalize("NFD", name),
    "spaces around": lambda name: f" {name} ",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("form", FORMS)
def test_a_picture_is_found_however_its_path_is_written(tmp_path: Path, form: str, spelling: str) -> None:
    folder = tmp_path / "train"
    for name, _ in ROWS:
        add(folder, name, None)
    path = FORMS[form](folder, [(SPELLINGS[spelling](name), caption) for name, caption in ROWS])
    assert [(pair.id, pair.caption) for pair in scan(path)] == WANTED


@pytest.mark.parametrize("form", FORMS)
def test_accents_decomposed_on_the_disk_are_found_by_composed_ones(tmp_path: Path, form: str) -> None:
    add(tmp_path, normalize("NFD", "été.png"), None)
    (pair,) = scan(FORMS[form](tmp_path, [(normalize("NFC", "été.png"), "a dress")]))
    assert pair.image.is_file()


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_that_lies_deeper_is_found_if_it_is_the_only_one(tmp_path: Path, form: str) -> None:
    add(tmp_path, "images/a.png", None)
    path = FORMS[form](tmp_path, [("a.png", "a dress")])
    assert [pair.id for pair in scan(path)] == ["images/a"]
    add(tmp_path, "more/a.png", None)
    with pytest.raises(DataError, match=r"a\.png may mean .*images/a\.png, .*more/a\.png"):
        scan(path)


def test_a_missing_picture_of_a_folder_that_is_there_is_not_taken_from_another(tmp_path: Path) -> None:
    for name in ("1.png", "red/2.png"):
        add(tmp_path, name, None)
    path = write_csv(tmp_path, [("red/1.png", "a red dress"), ("red/2.png", "another")])
    with pytest.raises(DataError, match=r"red/1\.png: no such file"):
        scan(path)


def test_of_two_that_differ_in_letters_the_one_spelt_so_is_taken(tmp_path: Path) -> None:
    for name in ("a.png", "A.PNG"):
        add(tmp_path, name, None)
    write_jsonl(tmp_path, [("./A.PNG", "large"), ("./a.png", "small")])
    assert [(pair.image.name, pair.caption) for pair in scan(tmp_path)] == [("A.PNG", "large"), ("a.png", "small")]


def test_paths_that_were_found_elsewhere_are_told_with_an_example(tmp_path: Path) -> None:
    for size, name in enumerate(("a.png", "b.png"), 16):
        add(tmp_path, name, None, size=size)
    write_jsonl(tmp_path, [("/elsewhere/a.png", "x"), ("/elsewhere/b.png", "y")])
    (notice,) = survey(tmp_path).notices
    assert "2 paths" in notice
    assert f"/elsewhere/a.png is taken to be {tmp_path / 'a.png'}" in notice
    write_jsonl(tmp_path, [("./a.png", "x"), ("B.png", "y")])
    assert not survey(tmp_path).notices


COLUMNS: dict[str, list[dict[str, object]]] = {
    "a caption by another name": [{"file_name": "a.png", "blip": "a dress", "width": 512}],
    "a path by another name": [{"shot": "a.png", "caption": "a dress"}],
    "both by other names": [{"shot": "a.png", "words": "a dress", "hash": 3, "url": "https://x.org/a.png"}],
    "several known captions": [{"file_name": "a.png", "caption": "a dress", "tags": "red, dress"}],
    "separators": [{"File Name": "a.png", "Image-Caption": "a dress", "notes": "x"}],
}


@pytest.mark.parametrize("case", COLUMNS)
def test_columns_are_told_by_their_names_or_by_what_is_in_them(tmp_path: Path, case: str) -> None:
    rows = COLUMNS[case]
    add(tmp_path, "a.png", None)
    metadata(tmp_path, *rows)
    assert [pair.caption for pair in scan(tmp_path)] == ["a dress"]
    (tmp_path / "metadata.jsonl").unlink()
    lines = [[*rows[0]], *([f'"{cell}"' for cell in row.values()] for row in rows)]
    (tmp_path / "metadata.csv").write_text("\n".join(";".join(line) for line in lines))
    assert [pair.caption for pair in scan(tmp_path)] == ["a dress"]


def test_two_columns_of_text_that_may_be_captions_are_named(tmp_path: Path) -> None:
    add(tmp_path, "a.png", None)
    metadata(tmp_path, {"file_name": "a.png", "left": "a dress", "right": "a coat"})
    for look in (survey, scan):
        with pytest.raises(DataError, match="no column of captions; its columns are file_name, left, right"):
            look(tmp_path)


TEXTS: dict[str, bytes] = {
    "UTF-16 of Excel": "file_name\ttext\r\na.png\ta dress, grün\r\n".encode("utf-16"),
    "big-endian UTF-16": b"\xfe\xff" + 'file_name,text\na.png,"a dress, grün"'.encode("utf-16-be"),
    "a mark and CRLF": '\ufefffile_name,text\r\na.png,"a dress, grün"\r\n'.encode(),
    "Excel's own separator line": "sep=;\r\nfile_name;text\r\na.png;a dress, grün\r\n".encode(),
    "a quoted header": 'file_name;"text, in English"\na.png;"a dress, grün"\n'.encode(),
    "commas that nobody quoted": "file_name,text\na.png,a dress, grün\n".encode(),
    "no header": "a.png,a dress, grün\nb.png,a hat".encode(),
    "blank lines": '\n\nfile_name,text\n\na.png,"a dress, grün"\n\n'.encode(),
    "returns of old Macs": 'file_name,text\ra.png,"a dress, grün"\r'.encode(),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_csv_file_is_read_as_any_program_writes_it(tmp_path: Path, case: str) -> None:
    for name in ("a.png", "b.png"):
        add(tmp_path, name, None)
    (tmp_path / "all.csv").write_bytes(TEXTS[case])
    assert scan(tmp_path / "all.csv")[0].caption == "a dress, grün"


def test_a_table_of_any_name_is_found_and_told(tmp_path: Path) -> None:
    add(tmp_path, "a.png", None)
    table = tmp_path / "meta_lat.json"
    table.write_text(
        json.dumps({"/content/train/a": {"caption": "a dress", "tags": "red", "train_resolution": [1, 2]}})
    )
    assert [pair.caption for pair in scan(tmp_path)] == ["a dress, red"]
    assert f"captions are read from {table}" in survey(tmp_path).notices
    assert [pair.id for pair in scan(table)] == ["a"]
    (tmp_path / "labels.csv").write_text("file,caption\na.png,a coat\n")
    with pytest.raises(DataError, match=r"2 tables name the pictures .*labels\.csv, meta_lat\.json") as caught:
        scan(tmp_path)
    assert "data.path" in caught.value.hint
    (tmp_path / "a.txt").write_text("a hat")
    assert [pair.caption for pair in scan(tmp_path)] == ["a hat"]


def test_a_picture_no_table_names_may_have_a_text_file(tmp_path: Path) -> None:
    add(tmp_path, "a.png", None)
    add(tmp_path, "b.png", "a coat")
    metadata(tmp_path, {"file_name": "a.png", "text": "a dress"})
    assert [(pair.id, pair.caption) for pair in scan(tmp_path)] == [("a", "a dress"), ("b", "a coat")]


def test_what_init_says_is_what_training_says(tmp_path: Path) -> None:
    add(tmp_path, "a.png", None)
    metadata(tmp_path, {"file_name": "nowhere.png", "text": "a dress"})
    (tmp_path / "a.png").unlink()
    said: list[str] = []
    for look in (survey, scan):
        with pytest.raises(DataError, match=r"metadata\.jsonl:1: nowhere\.png: no such picture") as caught:
            look(tmp_path)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_a_long_list_of_problems_is_cut_and_counted(tmp_path: Path) -> None:
    add(tmp_path, "a.png")
    for number in range(60):
        (tmp_path / f"{number}.gif").touch()
    with pytest.raises(DataError, match=r"60 problem\(s\)") as caught:
        scan(tmp_path)
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[-1].strip()) == (42, "and 20 more")


@pytest.mark.parametrize("trigger_word", ["", "ohwx"])
@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("list.csv", "file;text\r\na.png;été\r\n".encode("cp1252"), r"list\.csv: 'utf-8' codec .*Excel: CSV UTF-8"),
        ("list.json", b'[{"file_name": "a.png", "te', r"list\.json: not valid JSON"),
        ("list.jsonl", b'{"file_name": "a.p', r"list\.jsonl:1: not valid JSON"),
    ],
)
def test_a_table_that_cannot_be_read_is_an_error_where_no_captions_are_found(
    tmp_path: Path, name: str, content: bytes, complaint: str, trigger_word: str
) -> None:
    add(tmp_path, "a.png", None)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=complaint) as caught:
        scan(tmp_path, trigger_word=trigger_word)
    assert "move it out of the folder" in caught.value.hint
    (tmp_path / "a.txt").write_text("a dress")
    assert [pair.id for pair in scan(tmp_path)] == ["a"]


def test_a_line_that_is_cut_off_is_told_as_such(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        add(tmp_path, name, None)
    write_jsonl(tmp_path, [("a.png", "x")])
    with (tmp_path / "metadata.jsonl").open("a") as file:
        file.write('\n{"file_name": "b.png", "text": ')
    with pytest.raises(DataError, match=r"metadata\.jsonl:\d: not valid JSON: Expecting value"):
        scan(tmp_path)


def test_a_list_of_captions_is_told_once_for_each_row(tmp_path: Path) -> None:
    add(tmp_path, "a.png", None)
    metadata(tmp_path, {"file_name": "a.png", "text": ["x", "y"]})
    with pytest.raises(DataError) as caught:
        scan(tmp_path, trigger_word="ohwx")
    assert str(caught.value).splitlines()[0] == "1 problem(s) in the data set:"
    assert 'metadata.jsonl:1: a.png: the caption in "text" is a list; write one text' in str(caught.value)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_list_is_read_under_the_ending_of_json_lines(tmp_path: Path, indent: int | None) -> None:
    rows = [{"file_name": name, "text": caption} for name, caption in ROWS]
    for name, _ in ROWS:
        add(tmp_path, name, None)
    (tmp_path / "metadata.jsonl").write_text(json.dumps(rows, indent=indent))
    assert [(pair.id, pair.caption) for pair in scan(tmp_path)] == WANTED


def test_json_lines_without_one_object_are_told_with_the_form(tmp_path: Path) -> None:
    add(tmp_path, "a.png", None)
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": "x"}, indent=1))
    with pytest.raises(DataError, match=r"metadata\.jsonl:1: not valid JSON") as caught:
        scan(tmp_path)
    assert '{"file_name": "a.png"' in caught.value.hint
