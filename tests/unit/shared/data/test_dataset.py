"""The data set: every problem is found before anything is loaded, and the split never moves."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.config.loading import parse_config
from shared.data import dataset
from shared.data.inspection import Inspection
from shared.data.pictures import open_picture, upright_size
from shared.data.sources import Pair
from shared.data.split import held_out
from shared.data.survey import survey
from shared.errors import DataError


def add(folder: Path, name: str, caption: str | None = "a dress", size: int = 16) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), "red").save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def scan(folder: Path, /, *, decode: bool = False, **data: object) -> list[Pair]:
    tree = {"run": {"output_dir": str(folder.parent / "runs")}, "data": {"path": str(folder), **data}}
    return dataset.scan(parse_config(tree), Inspection() if decode else None)


def metadata(folder: Path, *rows: object) -> None:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_pairs_come_sorted_by_id_from_any_depth(tmp_path: Path) -> None:
    add(tmp_path, "b.png", " a\n red  dress \n")
    add(tmp_path, "sub/a.JPEG", "a coat")
    add(tmp_path, "a.webp", "\ufeffa hat")
    (tmp_path / "notes.md").write_text("not a picture")
    assert [(pair.id, pair.caption) for pair in scan(tmp_path)] == [
        ("a", "a hat"),
        ("b", "a red dress"),
        ("sub/a", "a coat"),
    ]


def test_every_bad_caption_is_listed_at_once(tmp_path: Path) -> None:
    add(tmp_path, "good.png")
    add(tmp_path, "missing.png", None)
    add(tmp_path, "empty.png", " \n")
    add(tmp_path, "latin.png").with_suffix(".txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(DataError) as caught:
        scan(tmp_path)
    message = str(caught.value)
    assert message.startswith("3 problem(s)")
    assert "missing.png: no caption file missing.txt" in message
    assert "empty.txt: the caption is empty" in message
    assert "latin.txt: 'utf-8' codec" in message
    assert "good" not in message
    assert "UTF-8" in caught.value.hint


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def bomb(path: Path, side: int = 60_000) -> None:
    """A small PNG that declares `side` × `side` pixels."""
    data = bytearray(path.read_bytes())
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)


def as_gif(path: Path) -> None:
    Image.new("RGB", (8, 8)).save(path, format="GIF")


BAD: dict[str, Callable[[Path], object]] = {
    "truncated": truncate,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello"),
    "gif": as_gif,
    "bomb": bomb,
}


def test_every_unreadable_picture_is_listed_at_once(tmp_path: Path) -> None:
    add(tmp_path, "good.png")
    for name, damage in BAD.items():
        path = add(tmp_path, f"{name}.png")
        Image.effect_noise((64, 64), 90).convert("RGB").save(path)
        damage(path)
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.png")
    with pytest.raises(DataError) as caught:
        scan(tmp_path, decode=True)
    message = str(caught.value)
    assert message.startswith(f"{len(BAD) + 1} problem(s)")
    assert "bare.png: no caption file bare.txt" in message
    for name in BAD:
        assert f"{name}.png: " in message
    assert "good.png" not in message
    assert "gif.png: not a PNG, JPEG, WebP, BMP, TIFF or AVIF picture" in message
    assert "decompression bomb" in message


def test_pictures_come_out_upright_in_rgb_on_white(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90°
    Image.new("RGB", (16, 8), "red").save(tmp_path / "turned.jpg", exif=exif)
    assert open_picture(tmp_path / "turned.jpg").size == upright_size(tmp_path / "turned.jpg") == (8, 16)
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert open_picture(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
    Image.fromarray(np.full((8, 8), 0x8012, np.uint16)).save(tmp_path / "deep.png")
    assert open_picture(tmp_path / "deep.png").getpixel((0, 0)) == (128, 128, 128)
    for mode in ("L", "CMYK", "P", "1", "LA"):
        path = tmp_path / f"{mode}{'.jpg' if mode == 'CMYK' else '.png'}"
        Image.new(mode, (8, 8)).save(path)
        assert open_picture(path).mode == "RGB"


def test_pictures_of_one_name_have_ids_with_their_ending_and_are_never_split(tmp_path: Path) -> None:
    for number, name in enumerate(("a.png", "a.jpg", "b.png")):
        add(tmp_path, name, size=16 + number)
    said: list[str] = []
    tree = {"run": {"output_dir": str(tmp_path.parent / "runs")}, "data": {"path": str(tmp_path)}}
    everything = dataset.scan(parse_config(tree), say=said.append)
    assert [pair.id for pair in everything] == ["a.jpg", "a.png", "b"]
    assert f"such as {tmp_path / 'a.jpg'} and a.png" in said[0]
    assert list(survey(tmp_path).notices) == said
    assert [pair.id for pair in dataset.training_pairs(everything, ["a.png"], None, 0)] == ["b"]


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("file.txt", "is a file, not a folder", "CSV, JSON"),
        ("a.png", "is a single picture, not a folder", "give the folder"),
        ("all.zip", "is an archive, not a folder", "unpack it"),
        ("train.parquet", "is not a folder", "save_to_disk"),
    ],
)
def test_what_is_no_folder_is_refused_for_what_it_is(tmp_path: Path, name: str, message: str, hint: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=f"{name} {message}") as caught:
        scan(tmp_path / name)
    assert hint in caught.value.hint


def test_a_path_that_leads_nowhere_is_told_with_where_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"^nowhere does not exist") as caught:
        scan(Path("nowhere"))
    assert f"seen from {tmp_path}" in caught.value.hint


def test_a_folder_without_pictures_is_refused_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").touch()
    with pytest.raises(DataError, match=r"holds no pictures\n.*files that are not used: 1 \.zip") as caught:
        scan(tmp_path)
    assert "unpack archives" in caught.value.hint


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        scan(tmp_path)


def test_metadata_gives_the_captions(tmp_path: Path) -> None:
    add(tmp_path, "a.png", None)
    add(tmp_path, "sub/b.png", None)
    metadata(
        tmp_path, {"file_name": "sub/b.png", "text": " a\n coat ", "extra": 1}, "", {"file_name": "a.png", "text": "é"}
    )
    assert [(pair.id, pair.caption) for pair in scan(tmp_path)] == [("a", "é"), ("sub/b", "a coat")]


def test_every_problem_of_metadata_is_listed_at_once(tmp_path: Path) -> None:
    for name in ("named.png", "forgotten.png", "blank.png"):
        add(tmp_path, name, None)
    metadata(
        tmp_path,
        {"file_name": "named.png", "text": "a dress"},
        {"file_name": "named.png", "text": "a coat"},
        {"file_name": "absent.png", "text": "a hat"},
        {"file_name": "blank.png", "text": " "},
        {"file_name": "null.png", "text": None},
        {"text": "no name"},
        ["a", "list"],
        "not json",
    )
    with pytest.raises(DataError) as caught:
        scan(tmp_path)
    message = str(caught.value)
    assert message.startswith("8 problem(s)")
    for complaint in (
        "metadata.jsonl:2: named.png is named twice",
        "absent.png: no such picture in the folder",
        "blank.png: the caption is empty",
        "metadata.jsonl:5: null.png: no such picture",
        'metadata.jsonl:6: "file_name" names no picture',
        "metadata.jsonl:7: not a JSON object",
        "metadata.jsonl:8: not valid JSON",
        "forgotten.png: not named in metadata.jsonl",
    ):
        assert complaint in message


@pytest.mark.parametrize("name", ["../outside.png", "/etc/outside.png", "sub/../../outside.png", "a\u0000.png"])
def test_metadata_cannot_reach_out_of_the_folder(tmp_path: Path, name: str) -> None:
    add(tmp_path, "outside.png", None)
    folder = tmp_path / "pictures"
    add(folder, "a.png", None)
    metadata(folder, {"file_name": "a.png", "text": "x"}, {"file_name": name, "text": "y"})
    with pytest.raises(DataError, match="no such picture in the folder"):
        scan(folder)


def test_metadata_that_is_not_utf8_is_refused_by_name(tmp_path: Path) -> None:
    add(tmp_path, "a.png", None)
    (tmp_path / "metadata.jsonl").write_bytes(b'{"file_name": "a.png", "text": "caf\xe9"}')
    with pytest.raises(DataError, match=r"metadata\.jsonl: 'utf-8' codec"):
        scan(tmp_path)


def pairs(count: int) -> list[Pair]:
    return [Pair(f"id-{number:03d}", Path(f"{number}.png"), "caption") for number in range(count)]


def names(path: Path) -> str:
    """Stands in for a digest: each picture has its own."""
    return path.name


def test_training_takes_what_is_not_held_out() -> None:
    everything = pairs(30)
    chosen = held_out.choose(everything, 5, seed=1)
    training = [pair.id for pair in dataset.training_pairs(everything, chosen, None, 1, names)]
    assert len(training) == 25
    assert not set(training) & set(chosen)


def test_a_smaller_training_set_is_part_of_a_larger_one_and_depends_on_the_seed() -> None:
    everything = pairs(30)
    sets = [
        {pair.id for pair in dataset.training_pairs(everything, ["id-000"], size, 1, names)} for size in (5, 10, 99)
    ]
    assert [len(found) for found in sets] == [5, 10, 29]
    assert sets[0] < sets[1] < sets[2]
    other = {pair.id for pair in dataset.training_pairs(everything, ["id-000"], 5, 2, names)}
    assert other != sets[0]


def test_a_copy_of_a_held_out_picture_is_not_trained_on(tmp_path: Path) -> None:
    for name in ("10_dress/a.png", "b.png"):
        add(tmp_path, name)
    for name in ("copy.png", "2_coat/copy.png"):
        add(tmp_path, name).write_bytes((tmp_path / "b.png").read_bytes())
    Image.new("RGB", (16, 16), "blue").save(tmp_path / "10_dress" / "a.png")
    everything = scan(tmp_path)
    assert [pair.id for pair in dataset.training_pairs(everything, ["copy"], None, 0)] == ["10_dress/a"]
    with pytest.raises(DataError, match="a copy of one that is"):
        dataset.training_pairs([pair for pair in everything if "a" not in pair.id], ["copy"], None, 0)


def test_of_copies_one_is_held_out(tmp_path: Path) -> None:
    everything = [Pair(f"{folder}/{number}", Path(f"{number}.png"), "") for folder in "ab" for number in range(6)]
    distinct = dataset.one_of_each(everything, names, ["b/3"])
    assert [pair.id for pair in distinct] == ["a/0", "a/1", "a/2", "a/4", "a/5", "b/3"]
    chosen = held_out.choose(distinct, 3, seed=0, named=["b/3"])
    training = dataset.training_pairs(everything, chosen, None, 0, names)
    assert len(training) == 6
    assert len({pair_id.partition("/")[2] for pair_id in chosen}) == 3


def test_the_trigger_word_is_in_every_caption(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "a red dress")
    add(tmp_path, "b.png", "ohwx in a coat")
    assert [pair.caption for pair in scan(tmp_path, trigger_word="ohwx")] == ["ohwx, a red dress", "ohwx in a coat"]


def test_the_trigger_word_is_the_caption_of_pictures_that_have_none(tmp_path: Path) -> None:
    for name, caption in {"a.png": None, "b.png": " ", "c.png": "a coat"}.items():
        add(tmp_path, name, caption)
    wanted = ["ohwx", "ohwx", "ohwx, a coat"]
    assert [pair.caption for pair in scan(tmp_path, trigger_word="ohwx")] == wanted
    seen = survey(tmp_path, "ohwx")
    assert (seen.problems, list(seen.captions)) == ((), wanted)
    assert seen.notices[0] == "2 of 3 pictures have no caption: the trigger word 'ohwx' is theirs"
    metadata(tmp_path, {"file_name": "a.png", "text": None}, {"file_name": "c.png", "text": "a hat"})
    (tmp_path / "b.txt").unlink()
    assert [pair.caption for pair in scan(tmp_path, trigger_word="ohwx")] == ["ohwx", "ohwx", "ohwx, a hat"]


def test_without_a_trigger_word_the_error_names_it_as_a_cure(tmp_path: Path) -> None:
    add(tmp_path, "a.png", None)
    with pytest.raises(DataError, match=r"no caption file a\.txt") as caught:
        scan(tmp_path)
    assert "data.trigger_word" in caught.value.hint
    add(tmp_path, "a.png", "a\x07dress")
    with pytest.raises(DataError) as caught:
        scan(tmp_path)
    assert "data.trigger_word" not in caught.value.hint


def test_pictures_for_regularisation_never_get_the_trigger_word(tmp_path: Path) -> None:
    add(tmp_path, "img/10_ohwx dress/a.png", None)
    add(tmp_path, "img/10_ohwx dress/b.png", "a dress")
    add(tmp_path, "reg/1_dress/c.png", None)
    assert [pair.caption for pair in scan(tmp_path, trigger_word="ohwx")] == ["ohwx dress", "ohwx, a dress", "dress"]
    add(tmp_path, "reg/d.png", None)
    with pytest.raises(DataError, match=r"d\.png: no caption file d\.txt"):
        scan(tmp_path, trigger_word="ohwx")


def test_the_fingerprint_changes_with_any_picture_or_caption(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "one")
    add(tmp_path, "b.png", "two")
    first = dataset.fingerprint(scan(tmp_path))
    assert dataset.fingerprint(reversed(scan(tmp_path))) == first
    (tmp_path / "a.txt").write_text("uno")
    second = dataset.fingerprint(scan(tmp_path))
    Image.new("RGB", (16, 16), "blue").save(tmp_path / "b.png")
    third = dataset.fingerprint(scan(tmp_path))
    (tmp_path / "b.png").rename(tmp_path / "c.png")
    (tmp_path / "b.txt").rename(tmp_path / "c.txt")
    fourth = dataset.fingerprint(scan(tmp_path))
    assert len({first, second, third, fourth}) == 4
