"""TIFF and AVIF as scanners, Photoshop and phones write them; what cannot be shown as it looks is refused."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.data.pictures import ENDINGS, open_picture, read_header
from shared.errors import DataError
from tests import icc
from tests.unit.shared.data.test_dataset import add, scan


@pytest.mark.parametrize("ending", ["tif", "TIFF", "avif"])
def test_tiff_and_avif_are_pictures_like_others(tmp_path: Path, ending: str) -> None:
    add(tmp_path, f"a.{ending}")
    assert [pair.id for pair in scan(tmp_path, decode=True)] == ["a"]


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
def test_a_tiff_of_any_usual_compression_is_read(tmp_path: Path, compression: str) -> None:
    Image.new("RGB", (20, 30), (200, 10, 10)).save(tmp_path / "a.tif", compression=compression)
    red, green, _ = open_picture(tmp_path / "a.tif").getpixel((5, 5))
    assert (red > 190, green < 20) == (True, True)


@pytest.mark.parametrize("ending", ["tif", "avif"])
@pytest.mark.parametrize("turned", range(1, 9))
def test_they_are_upright_once_and_their_headers_say_so(tmp_path: Path, ending: str, turned: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turned
    image = Image.new("RGB", (20, 40), "white")
    image.paste((0, 0, 0), (0, 0, 10, 20))
    image.save(tmp_path / f"a.{ending}", exif=exif.tobytes(), **({"quality": 100} if ending == "avif" else {}))
    image.save(tmp_path / "a.png", exif=exif.tobytes())
    found, wanted = (np.asarray(open_picture(tmp_path / name), dtype=int) for name in (f"a.{ending}", "a.png"))
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 40
    assert read_header(tmp_path / f"a.{ending}").size == (found.shape[1], found.shape[0])


def test_sixteen_bits_transparency_and_profiles_of_a_tiff_are_as_of_a_png(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), 0x8012, np.uint16)).save(tmp_path / "deep.tif")
    assert open_picture(tmp_path / "deep.tif").getpixel((0, 0)) == (128, 128, 128)
    Image.fromarray(np.full((16, 16), 0x8012, ">u2")).save(tmp_path / "big.tif")
    assert open_picture(tmp_path / "big.tif").getpixel((0, 0)) == (128, 128, 128)
    Image.new("RGBA", (16, 16), (255, 0, 0, 0)).save(tmp_path / "clear.tif")
    assert open_picture(tmp_path / "clear.tif").getpixel((0, 0)) == (255, 255, 255)
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / "ink.tif", icc_profile=icc.cmyk())
    assert open_picture(tmp_path / "ink.tif").getpixel((0, 0)) == (0, 142, 197)
    assert read_header(tmp_path / "ink.tif").is_converted


def several_pages(path: Path) -> None:
    pages = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    pages[0].save(path, save_all=True, append_images=pages[1:])


REFUSED = {
    "pages.tif": (several_pages, "several pages; save the one that is meant"),
    "moving.avif": (several_pages, "animated; save the one that is meant"),
    "float.tif": (lambda path: Image.new("F", (16, 16), 0.5).save(path), "floating-point pixels"),
    "wide.tif": (lambda path: Image.new("I", (16, 16), 1 << 20).save(path), "32-bit pixels"),
    "lab.tif": (lambda path: Image.new("LAB", (16, 16)).save(path), "Lab colours"),
    "called.tif": (lambda path: Image.new("L", (9, 9)).save(path, "GIF"), "not a PNG"),
    "postscript.tif": (lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "not a PNG"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_shown_as_it_looks_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    write, reason = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(DataError, match=reason):
        open_picture(tmp_path / name)


@pytest.mark.parametrize("ending", ["tif", "avif"])
def test_a_damaged_file_is_refused_and_never_a_traceback(tmp_path: Path, ending: str) -> None:
    whole = tmp_path / f"whole.{ending}"
    Image.effect_noise((32, 32), 90).convert("RGB").save(
        whole, **({"compression": "tiff_lzw"} if ending == "tif" else {})
    )
    data, path, draw = whole.read_bytes(), tmp_path / f"a.{ending}", random.Random(0)
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(3):
            damaged[draw.randrange(len(data)) if draw.random() < 0.5 else draw.randrange(200)] = draw.randrange(256)
        path.write_bytes(damaged[: draw.choice((len(data), draw.randrange(len(data))))])
        for look in (open_picture, read_header):
            with suppress(DataError):
                look(path)


def test_what_the_docs_list_is_what_is_read() -> None:
    text = (Path(__file__).parents[4] / "docs" / "data.md").read_text(encoding="utf-8")
    listed = text.partition("* Pictures are ")[2].partition(". They")[0]
    assert [name for name in ENDINGS if name.lower() not in listed.lower()] == []
