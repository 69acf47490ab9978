"""Every form of data set gives the same pairs, and every bad file is named before anything is loaded."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from shared.data import dataset, sources
from shared.data.pictures import open_picture, upright_size
from shared.data.sources import ScanReport
from shared.data.sources.columns import column
from shared.data.survey import survey
from shared.errors import DataError
from shared.files.publication import publish, sha256
from shared.run_folder.records.manifest import Manifest
from tests.conftest import create_run, paper_model, tiny_config
from tests.unit.shared.data.test_dataset import add, bomb, metadata, scan, truncate

THREE = [("a", "a red dress"), ("sub/b", "a coat, grün"), ("sub/c.v2", "a hat")]


def pictures(folder: Path) -> Path:
    for number, (name, _) in enumerate(THREE):
        add(folder, f"{name}.png", None, size=16 + number)
    return folder


def write_texts(folder: Path) -> Path:
    for name, caption in THREE:
        (folder / f"{name}.txt").write_text(caption, encoding="utf-8")
    return folder


def write_kohya_endings(folder: Path) -> Path:
    for name, caption in THREE:
        (folder / f"{name}.caption").write_text(caption, encoding="utf-8")
    return folder


def write_metadata_jsonl(folder: Path) -> Path:
    metadata(folder, *({"file_name": f"{name}.png", "text": caption} for name, caption in THREE))
    return folder


def write_metadata_below(folder: Path) -> Path:
    metadata(folder, {"file_name": "a.png", "text": THREE[0][1]})
    metadata(folder / "sub", *({"file_name": f"{n[4:]}.png", "text": caption} for n, caption in THREE[1:]))
    return folder


def write_csv(path: Path, columns: tuple[str, str], rows: list[tuple[str, str]], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["number", *columns])
        writer.writerows([(number, *row) for number, row in enumerate(rows)])
    return path


def named(folder: Path) -> list[tuple[str, str]]:
    return [(f"{name}.png", caption) for name, caption in THREE]


FORMS: dict[str, Callable[[Path], Path]] = {
    "text files": write_texts,
    ".caption files": write_kohya_endings,
    "metadata.jsonl": write_metadata_jsonl,
    "metadata.jsonl in each folder": write_metadata_below,
    "metadata.csv": lambda folder: write_csv(folder / "metadata.csv", ("file_name", "text"), named(folder)).parent,
    "a CSV file": lambda folder: write_csv(folder / "all.csv", ("Image", "Caption"), named(folder)),
    "a CSV file with semicolons": lambda folder: write_csv(folder / "x.csv", ("path", "prompt"), named(folder), ";"),
    "a CSV file with absolute paths": lambda folder: write_csv(
        folder / "all.csv", ("file_path", "description"), [(str(folder / name), text) for name, text in named(folder)]
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pairs(tmp_path: Path, form: str) -> None:
    path = FORMS[form](pictures(tmp_path / "data"))
    pairs = scan(path, decode=True)
    assert [(pair.id, pair.caption) for pair in pairs] == THREE
    assert [pair.image.resolve() for pair in pairs] == [tmp_path / "data" / f"{name}.png" for name, _ in THREE]
    assert {pair.repeats for pair in pairs} == {1}


def test_kohya_folders_repeat_their_pictures_and_name_their_class(tmp_path: Path) -> None:
    add(tmp_path, "10_ohwx dress/a.png", "a red dress")
    add(tmp_path, "10_ohwx dress/more/b.jpg", "a blue dress")
    add(tmp_path, "3_plain coat/a.png", None)
    add(tmp_path, "2026_summer/c.png", "a hat")
    add(tmp_path, "d.png", "a scarf")
    assert [(pair.id, pair.repeats, pair.caption) for pair in scan(tmp_path)] == [
        ("10_ohwx dress/a", 10, "a red dress"),
        ("10_ohwx dress/more/b", 10, "a blue dress"),
        ("2026_summer/c", 1, "a hat"),
        ("3_plain coat/a", 3, "plain coat"),
        ("d", 1, "a scarf"),
    ]


def test_a_kohya_folder_with_some_captions_must_have_all(tmp_path: Path) -> None:
    add(tmp_path, "10_dress/a.png", "a red dress")
    add(tmp_path, "10_dress/b.png", None)
    with pytest.raises(DataError, match=r"b\.png: no caption file b\.txt"):
        scan(tmp_path)


def test_a_text_file_is_preferred_to_a_caption_file(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "from txt").with_suffix(".caption").write_text("from caption")
    assert [pair.caption for pair in scan(tmp_path)] == ["from txt"]


def test_pictures_outside_a_csv_files_folder_have_their_whole_path_as_id(tmp_path: Path) -> None:
    image = add(tmp_path / "elsewhere", "a.png", None)
    (tmp_path / "lists").mkdir()
    for name in ("../elsewhere/a.png", str(image)):
        path = write_csv(tmp_path / "lists" / "all.csv", ("path", "text"), [(name, "a dress")])
        (pair,) = scan(path)
        assert pair.id == str(image.with_suffix("")).lstrip("/")
        assert ".." not in pair.id
        assert pair.image == image


def test_a_csv_file_without_the_columns_names_those_it_has(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "all.csv", ("shot", "text"), [])
    with pytest.raises(DataError, match=r"no column of pictures; its columns are number, shot, text") as caught:
        scan(path)
    assert "file_name" in caught.value.hint
    path = write_csv(tmp_path / "all.csv", ("path", "words"), [])
    with pytest.raises(DataError, match=r"no column of captions; its columns are number, path, words"):
        scan(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="its columns are none"):
        scan(path)


def test_every_problem_of_a_csv_file_is_listed_at_once(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        add(tmp_path, name, None)
    (tmp_path / "notes.pdf").touch()
    rows = [("a.png", "x"), ("a.png", "y"), ("absent.png", "x"), ("b.png", " "), ("", "x"), ("notes.pdf", "x")]
    with pytest.raises(DataError) as caught:
        scan(write_csv(tmp_path / "all.csv", ("path", "text"), rows))
    message = str(caught.value)
    assert message.startswith("5 problem(s)")
    for complaint in (
        "a.png: is named twice",
        "absent.png: no such file",
        "all.csv:5: b.png: the caption is empty",
        'all.csv:6: "path" names no picture',
        "notes.pdf is not a PNG",
    ):
        assert complaint in message


def test_the_column_is_found_in_any_case_by_the_order_of_the_known_names() -> None:
    assert column(["id", " Text ", "caption"], ("text", "caption")) == " Text "
    assert column(["File Name"], ("file_name",)) == "File Name"
    assert column(["id"], ("text",)) is None


def link_to_itself(folder: Path) -> None:
    (folder / "itself.png").symlink_to(folder / "itself.png")


def loop(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "round").symlink_to(folder)


def not_utf8(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")).write_bytes((folder / "good.png").read_bytes())


def animated(folder: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(add(folder, "animated.webp"), save_all=True, append_images=frames[1:])


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda folder: truncate(noise(add(folder, "truncated.png"))), "truncated.png: "),
    "empty": (lambda folder: add(folder, "empty.png").write_bytes(b""), "empty.png: not a PNG"),
    "text": (lambda folder: add(folder, "text.png").write_text("hello"), "text.png: not a PNG"),
    "a GIF called PNG": (lambda folder: Image.new("L", (9, 9)).save(add(folder, "gif.png"), "GIF"), "gif.png: not a"),
    "a FITS called PNG": (lambda folder: add(folder, "fits.png").write_bytes(b"SIMPLE  = T"), "fits.png: not a PNG"),
    "bomb": (lambda folder: bomb(add(folder, "bomb.png")), "decompression bomb"),
    "large": (lambda folder: bomb(add(folder, "large.png"), side=10_000), "10000 × 10000 pixels"),
    "tiny": (lambda folder: Image.new("RGB", (1, 1)).save(add(folder, "tiny.png")), "1 × 1 pixels: too small"),
    "narrow": (lambda folder: Image.new("RGB", (8, 200)).save(add(folder, "narrow.png")), "8 × 200 pixels: too narrow"),
    "animated": (animated, "animated.webp: animated"),
    "HEIC": (lambda folder: (folder / "phone.HEIC").touch(), "phone.HEIC: .heic pictures are not read"),
    "no caption": (lambda folder: add(folder, "bare.png", None), "bare.png: no caption file bare.txt"),
    "empty caption": (lambda folder: add(folder, "blank.png", " \n"), "blank.txt: the caption is empty"),
    "a caption of 1 MB": (lambda folder: add(folder, "long.png", "x" * 10**6), "long.txt: 1,000,000 characters"),
    "control characters": (lambda folder: add(folder, "bell.png", "a\x07b"), "bell.txt: the caption holds the control"),
    "latin-1": (lambda folder: add(folder, "latin.png").with_suffix(".txt").write_bytes(b"caf\xe9"), "latin.txt: 'utf"),
    "UTF-16": (
        lambda folder: add(folder, "wide.png").with_suffix(".txt").write_bytes("a".encode("utf-16-le")),
        "wide.t",
    ),
    "a dead link": (lambda folder: (folder / "dead.png").symlink_to("nowhere.png"), "dead.png: a link that leads to"),
    "a link to itself": (link_to_itself, "itself.png: a link that leads to no file"),
    "a loop": (loop, "round: a link to a folder it lies in"),
    "a name that is not UTF-8": (not_utf8, "the name is not UTF-8"),
}


def noise(path: Path) -> Path:
    Image.effect_noise((64, 64), 90).convert("RGB").save(path)
    return path


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_named_with_the_reason(tmp_path: Path, case: str) -> None:
    add(tmp_path, "good.png")
    spoil, complaint = BAD[case]
    spoil(tmp_path)
    with pytest.raises(DataError) as caught:
        scan(tmp_path, decode=True)
    message = str(caught.value)
    assert message.startswith("1 problem(s) in the data set:")
    assert complaint in message
    assert "good.png" not in message
    message.encode()


def test_all_bad_files_are_named_in_one_error(tmp_path: Path) -> None:
    add(tmp_path, "good.png")
    for spoil, _ in BAD.values():
        spoil(tmp_path)
    with pytest.raises(DataError) as caught:
        scan(tmp_path, decode=True)
    message = str(caught.value)
    assert message.startswith(f"{len(BAD)} problem(s)")
    for _, complaint in BAD.values():
        assert complaint in message


def test_what_looks_odd_and_can_be_used_is_used(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(add(tmp_path, "jpeg-called.png"), "JPEG")
    Image.new("RGB", (16, 16)).save(add(tmp_path, "PHOTO.JPG"))
    Image.new("RGB", (16, 16)).save(add(tmp_path, "scan.bmp"))
    Image.new("RGB", (16, 16)).save(tmp_path / "saved.jfif", "JPEG")
    (tmp_path / "saved.txt").write_text("a dress")
    frames = [Image.new("RGB", (16, 16))] * 2
    frames[0].save(add(tmp_path, "phone.jpg"), "MPO", save_all=True, append_images=frames[1:])
    add(tmp_path, ".hidden/x.png", None)
    add(tmp_path, "._PHOTO.JPG", None).write_bytes(b"resource fork")
    other = add(tmp_path.with_name("other"), "linked.png")
    (tmp_path / "linked").symlink_to(other.parent)
    assert [pair.id for pair in scan(tmp_path, decode=True)] == [
        "PHOTO",
        "jpeg-called",
        "linked/linked",
        "phone",
        "saved",
        "scan",
    ]


@pytest.mark.parametrize("rows", ['{"file_name": "a.png", "text": "x"}\n{"file_name": "../out.png", "text": "y"}'])
def test_metadata_jsonl_and_csv_cannot_reach_out(tmp_path: Path, rows: str) -> None:
    add(tmp_path, "out.png", None)
    for table in (rows, "file_name,text\na.png,x\n../out.png,y\n"):
        folder = tmp_path / ("jsonl" if table == rows else "csv")
        add(folder, "a.png", None)
        (folder / f"metadata.{folder.name}").write_text(table)
        with pytest.raises(DataError, match=r"out\.png: no such picture in the folder"):
            scan(folder)


def test_a_broken_csv_row_is_refused_with_its_line(tmp_path: Path) -> None:
    add(tmp_path, "a.png", None)
    path = tmp_path / "all.csv"
    path.write_text('path,text\na.png,"' + "x" * 200_000)
    with pytest.raises(DataError, match=r"all\.csv:\d"):
        scan(path)


def test_json_lines_may_name_their_columns_otherwise(tmp_path: Path) -> None:
    add(tmp_path, "a.png", None)
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"image": "a.png", "caption": "a dress", "seed": 3}))
    assert [(pair.id, pair.caption) for pair in scan(tmp_path)] == [("a", "a dress")]


CAPTION_FILES: dict[str, tuple[str, str, str]] = {
    "endings in other letters": ("IMG_0000.JPG", "IMG_0000.TXT", "a dress"),
    "a name in other letters": ("IMG_0000.JPG", "img_0000.txt", "a dress"),
    "the whole name": ("a.jpg", "a.jpg.txt", "a dress"),
    "the whole name in other letters": ("a.JPG", "a.jpg.Caption", "a dress"),
    "accents composed otherwise": ("é.png", "e\u0301.txt", "a dress"),
    "JSON with a caption": ("a.png", "a.json", '{"caption": "a dress", "width": 3}'),
    "JSON with tags": ("a.png", "a.png.json", '{"id": 3, "tags": ["a dress"]}'),
    "UTF-16 of Notepad": ("a.png", "a.txt", "\ufeffa dress"),
}


@pytest.mark.parametrize("case", CAPTION_FILES)
def test_a_caption_file_is_found_however_programs_name_it(tmp_path: Path, case: str) -> None:
    image, name, content = CAPTION_FILES[case]
    add(tmp_path, image, None)
    encoding = "utf-16-le" if "UTF-16" in case else "utf-8"
    (tmp_path / name).write_bytes(content.encode(encoding))
    assert [pair.caption for pair in scan(tmp_path)] == ["a dress"]
    assert not survey(tmp_path).notices


def test_the_caption_of_exactly_the_name_comes_first(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "small")
    add(tmp_path, "A.PNG", None).with_suffix(".caption").write_text("large")
    (tmp_path / "a.png.txt").write_text("other")
    assert {pair.image.name: pair.caption for pair in scan(tmp_path)} == {"a.png": "small", "A.PNG": "large"}


@pytest.mark.parametrize(
    "folder", ["@eaDir/a.jpg", "sub/@eaDir", "#recycle", "$RECYCLE.BIN", "__MACOSX", "lost+found", ".ipynb_checkpoints"]
)
def test_thumbnails_and_waste_are_never_data(tmp_path: Path, folder: str) -> None:
    add(tmp_path, "a.jpg")
    add(tmp_path, f"{folder}/SYNOPHOTO_THUMB_XL.jpg", None)
    (tmp_path / "Thumbs.db").touch()
    assert [pair.id for pair in scan(tmp_path)] == ["a"]
    assert not survey(tmp_path).notices


def test_what_was_seen_and_not_used_is_told(tmp_path: Path) -> None:
    add(tmp_path, "a.png")
    for name in ("gone.txt", "a.PSD", "clip.mp4", "more/clip.mp4", "shards.parquet", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [pair.id for pair in scan(tmp_path)] == ["a"]
    assert survey(tmp_path).notices == (
        f"{tmp_path / 'a.PSD'}: not used; the picture of the same name beside it is",
        f"1 caption file(s) belong to no picture, such as {tmp_path / 'gone.txt'}",
        "files that are not used: 2 .mp4, 1 .parquet",
    )


@pytest.mark.parametrize("number", [1, 80])
@pytest.mark.parametrize("compressed", [True, False])
def test_workflows_in_a_png_do_not_matter(tmp_path: Path, number: int, compressed: bool) -> None:
    texts = PngInfo()
    for index in range(number):
        texts.add_text(f"workflow {index}", "x" * 1_500_000, zip=compressed)
    path = add(tmp_path, "a.png")
    plain = open_picture(path).tobytes()
    Image.open(path).save(path, pnginfo=texts)
    assert [pair.id for pair in scan(tmp_path, decode=True)] == ["a"]
    assert (open_picture(path).tobytes(), upright_size(path)) == (plain, (16, 16))


def test_runs_and_caches_below_the_pictures_are_never_data(tmp_path: Path, pictures: Path) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(pictures, folder)
    before = sources.read(folder, ScanReport())
    sections: dict[str, dict[str, object]] = {"data": {"cache_dir": str(folder / "encoded")}}
    run = create_run(tiny_config(folder / "runs", "mine", paper_model(tmp_path / "model"), folder, sections))
    add(run.evaluation(2) / "images", "a.png")
    sample = Manifest(kind="evaluation", run_id=run.read_record().run_id, step=2)
    publish(run.staging, folder / "step-00000004", sample, lambda stage: add(stage / "images", "a.png"))  # pyright: ignore
    add(folder / "encoded" / "datasets" / "old", "a.png")
    (folder / "encoded" / "digests.json").write_text("{}")
    report = ScanReport()
    assert sources.read(folder, report) == before
    assert report.notices == [
        f"{folder / 'encoded'}: a cache folder, never data",
        f"{run.path}: a run folder, never data",
        f"{folder / 'step-00000004'}: published by a run, never data",
    ]
    assert dataset.scan_again(run.read_config(), run.read_record().dataset.fingerprint, sha256)[1]
    assert [pair.id for pair in scan(run.evaluation(2) / "images")] == ["a"], "asked for by name"


def test_captions_that_a_table_takes_the_place_of_are_told(tmp_path: Path) -> None:
    for size, name in enumerate(("a", "b", "c"), 16):
        add(tmp_path, f"{name}.png", "from a file", size=size)
    metadata(tmp_path, *({"file_name": f"{name}.png", "text": "from the table"} for name in ("a", "b")))
    assert [pair.caption for pair in scan(tmp_path)] == ["from the table", "from the table", "from a file"]
    assert survey(tmp_path).notices == (
        f"2 caption file(s) are not used, such as {tmp_path / 'a.txt'}: metadata.jsonl has the captions of their "
        "pictures",
    )


def test_a_second_caption_file_of_a_picture_is_told_as_such(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "first")
    (tmp_path / "a.caption").write_text("second")
    assert survey(tmp_path).notices == (
        f"1 caption file(s) are not used, such as {tmp_path / 'a.caption'}: another file of the same picture comes "
        "first (.txt, then .caption, then .json)",
    )


SIDECARS: dict[str, tuple[bytes, str]] = {
    "cut off": (b'{"caption": "a dr', "a.json: not valid JSON: Unterminated string"),
    "in Latin-1": (b'{"caption": "\xe9t\xe9"}', "a.json: 'utf-8' codec can't decode"),
}


@pytest.mark.parametrize("trigger_word", ["", "ohwx"])
@pytest.mark.parametrize("case", SIDECARS)
def test_a_pictures_json_file_that_cannot_be_read_is_an_error(tmp_path: Path, case: str, trigger_word: str) -> None:
    content, complaint = SIDECARS[case]
    add(tmp_path, "a.png", None)
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"^1 problem\(s\).*\n.*{re.escape(complaint)}"):
        scan(tmp_path, trigger_word=trigger_word)


def test_the_keys_of_a_pictures_json_file_without_a_caption_are_told(tmp_path: Path) -> None:
    add(tmp_path, "a.png", None)
    (tmp_path / "a.json").write_text('{"tag_string": "1girl", "rating": "s"}')
    told = (
        f"{tmp_path / 'a.json'}: its keys are tag_string, rating, and those that are read caption, text, prompt, tags"
    )
    with pytest.raises(DataError, match=re.escape(f"no caption file a.txt, and no caption in {told}")):
        scan(tmp_path)
    notices = survey(tmp_path, "ohwx").notices
    assert f"1 JSON file(s) of pictures hold no caption, such as {told}" in notices
