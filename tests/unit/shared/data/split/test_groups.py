"""What belongs together is on one side of the split: near-duplicates, and pairs of one key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from pocket.lessons.garments import concept, render, write_concept
from shared.data.sources import Pair
from shared.data.split.groups import groups, key, notices, one_of_each, set_apart, straddling, warning_of
from shared.data.split.near_duplicates import Thumbprints, near_duplicates, thumbprint
from shared.errors import DataError


def pairs(*ids: str) -> list[Pair]:
    return [Pair(pair_id, Path(f"{pair_id}.png"), "a dress") for pair_id in ids]


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Twelve kimonos alike in outline, then four of them again: encoded and halved, brighter, turned by its EXIF,
    mirrored."""
    found = write_concept(tmp_path, 12)
    with Image.open(found[3]) as picture:
        picture.resize((64, 64)).save(tmp_path / "small.jpg", quality=60)
    with Image.open(found[5]) as picture:
        ImageEnhance.Brightness(picture).enhance(1.08).save(tmp_path / "bright.webp", quality=80)
    with Image.open(found[7]) as picture:
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.rotate(90).save(tmp_path / "turned.jpg", quality=95, exif=exif)
    with Image.open(found[9]) as picture:
        ImageOps.mirror(picture).save(tmp_path / "mirrored.png")
    return [*found, *(tmp_path / name for name in ("small.jpg", "bright.webp", "turned.jpg", "mirrored.png"))]


def test_pictures_encoded_again_resized_brightened_turned_or_mirrored_are_near_duplicates(pictures: list[Path]) -> None:
    assert near_duplicates(pictures, thumbprint) == [(3, 12), (5, 13), (7, 14), (9, 15)]
    assert near_duplicates([], thumbprint) == []


def test_eighty_garments_of_one_outline_have_no_near_duplicates(tmp_path: Path) -> None:
    prints = {}
    for number, garment in enumerate(concept(80, seed=9)):
        prints[Path(str(number))] = render(garment, 700 + number, 64)[0].convert("L").resize((16, 16)).tobytes().hex()
    assert near_duplicates(list(prints), prints.__getitem__) == []


def test_pictures_that_look_alike_on_both_sides_of_a_split_are_named_with_the_cure(pictures: list[Path]) -> None:
    both = [Pair(path.stem, path, "a dress") for path in pictures]
    away, training = [both[3], both[13]], [pair for number, pair in enumerate(both) if number not in (3, 13)]
    found = straddling(away, training, Thumbprints(pictures[0].parent / "thumbprints.json"))
    assert found == [(pictures[3].stem, "small"), ("bright", pictures[5].stem)]
    told = warning_of(found)
    assert told.startswith(f"2 training pictures look like a held-out one, such as small like {pictures[3].stem}: ")
    assert "This run keeps its split. A new one (--new)" in told
    assert "data.group_key" in told
    assert straddling(away[:1], training[:1], Thumbprints(pictures[0].parent / "thumbprints.json")) == []


def test_flat_pictures_are_like_no_other(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in ("white", "black", "white-too")]
    for path in paths:
        Image.new("RGB", (20, 30), path.stem[:5]).save(path)
    assert near_duplicates(paths, thumbprint) == []


def test_a_large_jpeg_has_the_thumbprint_of_its_pixels_though_it_is_decoded_small(tmp_path: Path) -> None:
    picture = render(concept(1)[0], 5, 512)[0].resize((2048, 1024))
    picture.save(tmp_path / "large.jpg", quality=90)
    picture.save(tmp_path / "large.png")
    one, other = (
        np.frombuffer(bytes.fromhex(thumbprint(tmp_path / f"large.{end}")), np.uint8) for end in ("jpg", "png")
    )
    assert np.abs(one.astype(int) - other).max() <= 4


def test_thumbprints_are_kept_and_a_damaged_picture_is_an_error(tmp_path: Path, pictures: list[Path]) -> None:
    kept = Thumbprints(tmp_path / "thumbprints.json")
    assert len(kept(pictures[0])) == 512
    (tmp_path / "torn.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"torn\.png"):
        kept(tmp_path / "torn.png")


def test_a_key_is_the_first_group_of_the_expression_or_all_that_it_finds() -> None:
    assert key("dress12_front", "^[^_]+") == "dress12"
    assert key("shop/dress12_front", r"(\d+)_") == "12"
    assert key("dress", r"\d") is None
    assert groups(pairs("a_1", "a_2", "b_1", "c"), "^[^_]+(?=_)") == {"a_1": 0, "a_2": 0}


def test_keys_and_looks_join_groups_and_pictures_of_the_class_are_in_none() -> None:
    prints = dict.fromkeys(("a_1.png", "b_1.png"), "00ff" * 128) | {
        "a_2.png": "ff00ff00" * 64,
        "c.png": "0000ffff" * 64,
    }
    found = groups([*pairs("a_1", "a_2", "b_1", "c")], "^[a-z]_", lambda image: prints[str(image)])
    assert set(found) == {"a_1", "a_2", "b_1"}
    assert len(set(found.values())) == 1
    of_class = Pair("reg", Path("a_1.png"), "a dress", is_regularization=True)
    assert groups([*pairs("a_1"), of_class], "", lambda image: prints[str(image)]) == {}


def test_one_of_a_group_can_be_held_out_and_the_others_are_then_set_apart() -> None:
    everything = pairs("a", "b", "c", "d", "e")
    together = {"a": 0, "b": 0, "d": 1, "e": 1}
    assert [pair.id for pair in one_of_each(everything, together)] == ["a", "c", "d"]
    assert [pair.id for pair in one_of_each(everything, together, ["b"])] == ["b", "c", "d"]
    assert set_apart(["b", "c"], together) == ["a"]
    assert set_apart(["a", "b"], together) == []
    said = list(notices(["b", "c"], together))
    assert said[0].startswith(
        "4 pictures look like another one, also mirrored, or share its data.group_key or sources, such as a and b"
    )
    assert "1 of these are neither trained on nor held out, because one like it is held out: a;" in said[1]
    assert "(2 groups)" in said[0]
    assert "(1 group)" in next(notices(["c"], {"a": 0, "b": 0}))
    assert list(notices(["c"], {})) == []
