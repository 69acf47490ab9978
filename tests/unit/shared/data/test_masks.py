"""Masks: found beside their pictures, read as greys, cut as their pictures are; what is wrong with one is listed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.config.loading import parse_config
from shared.data import dataset, masks
from shared.data.buckets import Framing
from shared.data.inspection import Inspection
from shared.data.sources import Pair, ScanReport, find_pictures
from shared.data.survey import survey
from shared.errors import DataError


def add(folder: Path, name: str, size: tuple[int, int] = (16, 24), caption: str | None = "a dress") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, len(name), 9)).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)
    return path


def add_mask(folder: Path, name: str, size: tuple[int, int] = (16, 24), grey: int = 255) -> Path:
    Image.new("L", size, grey).save(folder / name)
    return folder / name


def scan(path: Path, **data: object) -> list[Pair]:
    tree = {"run": {"output_dir": str(path.parent / "runs")}, "data": {"path": str(path), **data}}
    return dataset.scan(parse_config(tree), Inspection())


def mask_names(pairs: list[Pair]) -> dict[str, str | None]:
    return {pair.id: pair.mask.name if pair.mask else None for pair in pairs}


def test_a_mask_belongs_to_its_picture_and_is_none_itself(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "sub/c.webp", "d.png"):
        add(tmp_path, name)
    for name in ("a.mask.png", "b-masklabel.png", "sub/c.MASK.PNG"):
        add_mask(tmp_path, name)
    expected = {"a": "a.mask.png", "b": "b-masklabel.png", "d": None, "sub/c": "c.MASK.PNG"}
    assert mask_names(scan(tmp_path)) == expected
    assert mask_names(scan(tmp_path, masks="off")) == expected, "none is trained on whether or not they are used"
    assert [path.name for path in find_pictures(tmp_path, ScanReport())] == ["a.png", "b.jpg", "d.png", "c.webp"]
    assert "3 with a mask beside them" in " ".join(survey(tmp_path).sentences())


@pytest.mark.parametrize("form", ["metadata.jsonl", "table.csv"])
def test_masks_of_pictures_that_a_table_names_are_found(tmp_path: Path, form: str) -> None:
    add(tmp_path, "a.png", caption=None)
    add(tmp_path, "b.png", caption=None)
    add_mask(tmp_path, "a.mask.png")
    rows = ['{"file_name": "a.png", "text": "x"}', '{"file_name": "b.png", "text": "y"}']
    (tmp_path / form).write_text("\n".join(rows if form.endswith("l") else ["file_name,text", "a.png,x", "b.png,y"]))
    assert mask_names(scan(tmp_path if form.endswith("l") else tmp_path / form)) == {"a": "a.mask.png", "b": None}


def test_a_kohya_folder_without_captions_does_not_train_on_a_mask_whose_picture_is_gone(tmp_path: Path) -> None:
    add(tmp_path, "10_dress/a.png", caption=None)
    add_mask(tmp_path / "10_dress", "a.mask.png")
    assert mask_names(scan(tmp_path)) == {"10_dress/a": "a.mask.png"}
    add_mask(tmp_path / "10_dress", "gone.mask.png")
    with pytest.raises(DataError, match=r"gone\.mask\.png: a mask without its picture"):
        scan(tmp_path)


def test_masks_that_cannot_be_used_are_all_listed(tmp_path: Path) -> None:
    for name in ("size.png", "black.png", "torn.png", "good.png"):
        add(tmp_path, name)
    add_mask(tmp_path, "size.mask.png", (16, 16))
    add_mask(tmp_path, "black.mask.png", grey=0)
    (tmp_path / "torn.mask.png").write_bytes(b"not a picture")
    add_mask(tmp_path, "good.mask.png", grey=1)
    with pytest.raises(DataError) as caught:
        scan(tmp_path)
    told = str(caught.value)
    assert "3 problem(s)" in told
    assert "size.mask.png: 16 × 16 pixels, its picture size.png has 16 × 24" in told
    assert "black.mask.png: black everywhere" in told
    assert "torn.mask.png: not a PNG, JPEG" in told
    assert len(survey(tmp_path).problems) == 3
    assert len(scan(tmp_path, masks="off")) == 4


def test_the_size_is_compared_with_the_upright_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (24, 16), "red").save(tmp_path / "a.jpg", exif=exif)
    (tmp_path / "a.txt").write_text("x")
    add_mask(tmp_path, "a.mask.png", (16, 24))
    assert len(scan(tmp_path)) == 1


def test_the_fingerprint_holds_masks_only_where_there_are_any(tmp_path: Path) -> None:
    add(tmp_path, "a.png")
    without = dataset.fingerprint(scan(tmp_path))
    mask = add_mask(tmp_path, "a.mask.png", grey=200)
    white = dataset.fingerprint(scan(tmp_path))
    add_mask(tmp_path, "a.mask.png", grey=100)
    grey = dataset.fingerprint(scan(tmp_path))
    mask.unlink()
    assert len({without, white, grey}) == 3
    assert dataset.fingerprint(scan(tmp_path)) == without


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P", "I;16", "RGBA", "LA"])
def test_every_kind_of_png_is_read_as_greys(tmp_path: Path, mode: str) -> None:
    greys = np.zeros((4, 6), np.uint8)
    greys[:, 3:] = 255
    if mode == "I;16":
        picture = Image.fromarray(greys.astype(np.uint16) * 257)
    elif mode in ("RGBA", "LA"):
        picture = Image.new(mode, (6, 4), "white")
        picture.putalpha(Image.fromarray(greys))
    else:
        picture = Image.fromarray(greys).convert(mode)
    picture.save(tmp_path / "m.png")
    assert np.array_equal(np.asarray(masks.read(tmp_path / "m.png")), greys / 255)


def test_transparency_is_a_mask_where_a_picture_has_it(tmp_path: Path) -> None:
    alpha = np.full((16, 16), 255, np.uint8)
    alpha[:8] = 51
    picture = Image.new("RGB", (16, 16), "red")
    picture.save(tmp_path / "plain.png")
    picture.putalpha(Image.fromarray(alpha))
    picture.save(tmp_path / "cut.png")
    assert [masks.has_alpha(tmp_path / name) for name in ("plain.png", "cut.png")] == [False, True]
    read = np.asarray(masks.read(tmp_path / "cut.png", alpha=True))
    assert (read[0, 0], read[15, 0]) == (pytest.approx(0.2), 1.0)
    picture.putalpha(0)
    picture.save(tmp_path / "gone.png")
    problems = masks.problems([Pair(name, tmp_path / f"{name}.png", "x") for name in ("plain", "cut", "gone")], "alpha")
    assert len(problems) == 1
    assert "gone.png: transparent everywhere" in problems[0]


@pytest.mark.parametrize("original", [(100, 60), (60, 100), (64, 64), (333, 170)])
def test_a_mask_is_cut_as_its_picture_is(original: tuple[int, int]) -> None:
    """A mask drawn on the picture itself marks the same places of the bucket."""
    framing = Framing(original, (64, 32))
    ys, xs = np.mgrid[: original[1], : original[0]]
    inside = (abs(xs / original[0] - 0.6) < 0.15) & (abs(ys / original[1] - 0.5) < 0.1)
    picture = framing.apply(Image.fromarray((inside * 255).astype(np.uint8)).convert("RGB"))
    seen = np.asarray(picture, dtype=float)[..., 0].reshape(4, 8, 8, 8).mean(axis=(1, 3)) / 255
    reduced = masks.reduced(Image.fromarray(inside.astype(np.float32)), (8, 4))
    assert reduced.shape == (4, 8)
    assert np.abs(reduced - seen).max() < 0.1
    assert reduced.mean() == pytest.approx(seen.mean(), abs=0.02)


@pytest.mark.parametrize(
    "name", ["a_mask.png", "a-masklabel.jpg", "a.mask.webp", "A_MASK.PNG", "a.jpg.mask.png", "a.jpg_mask.png"]
)
@pytest.mark.parametrize("form", ["texts", "metadata.jsonl", "table.csv"])
def test_a_mask_may_have_any_pictures_ending(tmp_path: Path, form: str, name: str) -> None:
    add(tmp_path, "a.jpg", caption="x" if form == "texts" else None)
    add_mask(tmp_path, name)
    if form == "metadata.jsonl":
        (tmp_path / form).write_text('{"file_name": "a.jpg", "text": "x"}\n')
    if form == "table.csv":
        (tmp_path / form).write_text("file_name,text\na.jpg,x\n")
    for path in {tmp_path, tmp_path / form if form == "table.csv" else tmp_path}:
        assert mask_names(scan(path, trigger_word="ohwx")) == {"a": name}


def test_a_picture_with_a_caption_is_no_mask_for_its_name(tmp_path: Path) -> None:
    for name in ("carnival.mask.png", "venetian_mask.png", "venetian.png"):
        add(tmp_path, name)
    assert mask_names(scan(tmp_path)) == {"carnival.mask": None, "venetian": None, "venetian_mask": None}
    listed = add(tmp_path / "listed", "b.png", caption=None)
    add(tmp_path / "listed", "b_mask.png", caption=None)
    rows = [f'{{"file_name": "{name}", "text": "x"}}' for name in ("b.png", "b_mask.png")]
    (listed.parent / "metadata.jsonl").write_text("\n".join(rows))
    assert mask_names(scan(listed.parent)) == {"b": None, "b_mask": None}


def test_a_mask_without_its_picture_is_no_picture(tmp_path: Path) -> None:
    add(tmp_path, "a.png")
    add_mask(tmp_path, "gone.mask.png")
    seen = survey(tmp_path)
    assert (seen.num_images, seen.captions) == (1, ("a dress",))
    assert seen.problems == (f"{tmp_path / 'gone.mask.png'}: a mask without its picture",)
