"""A picture's numbers mean what its colour profile says; without one, or with sRGB's, they stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from shared.data.pictures import open_picture, read_header
from shared.data.survey import survey
from tests import icc
from tests.unit.shared.data.test_dataset import add

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XYZ_TO_SRGB = np.linalg.inv([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
"""Under D50, as profiles count; from IEC 61966-2-1 by Bradford's adaptation."""


def converted_by_hand(colour: tuple[int, int, int]) -> list[int]:
    linear = (np.array(colour) / 255) ** (563 / 256)
    light = np.clip(XYZ_TO_SRGB @ (np.array(icc.ADOBE_RGB).T @ linear), 0, 1)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return [round(float(value) * 255) for value in encoded]


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_colours_of_adobe_rgb_become_those_of_srgb(tmp_path: Path, ending: str) -> None:
    colour = (100, 160, 90)
    path = tmp_path / f"a.{ending}"
    exact = {"lossless": True} if ending == "webp" else {"quality": 100, "subsampling": 0}
    Image.new("RGB", (16, 16), colour).save(path, icc_profile=icc.rgb(), **exact)
    found = np.array(open_picture(path).getpixel((3, 3)))
    assert np.abs(found - converted_by_hand(colour)).max() <= 2
    assert np.abs(found - colour).max() > 10
    assert read_header(path).is_converted


def test_transparency_is_kept_and_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (16, 16), (100, 160, 90, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.save(tmp_path / "a.png", icc_profile=icc.rgb())
    opened = open_picture(tmp_path / "a.png")
    assert opened.getpixel((0, 0)) == (255, 255, 255)
    assert np.abs(np.array(opened.getpixel((5, 5))) - converted_by_hand((100, 160, 90))).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_greys_of_another_curve_become_those_of_srgb(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(np.full((16, 16), 128 * 257, np.uint16)) if mode == "I;16" else Image.new("L", (16, 16), 128)
    (grey.convert("LA") if mode == "LA" else grey).save(tmp_path / "a.png", icc_profile=icc.grey(1.0))
    assert read_header(tmp_path / "a.png").is_converted
    assert open_picture(tmp_path / "a.png").getpixel((3, 3)) == (188, 188, 188)


def test_a_palette_is_converted_too(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (100, 160, 90)).quantize(4).save(tmp_path / "a.png", icc_profile=icc.rgb())
    found = np.array(open_picture(tmp_path / "a.png").getpixel((3, 3)))
    assert np.abs(found - converted_by_hand((100, 160, 90))).max() <= 2


def test_inks_become_the_colours_their_profile_says(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / "a.jpg", icc_profile=icc.cmyk(), quality=100)
    red, green, blue = open_picture(tmp_path / "a.jpg").getpixel((3, 3))
    assert red < 30
    assert (abs(green - 142) < 6, abs(blue - 197) < 6) == (True, True)


@pytest.mark.parametrize("profile", [None, SRGB, icc.rgb()[:100], b"nothing", icc.grey(1.0), icc.cmyk()])
def test_without_a_profile_that_says_otherwise_every_bit_stays(tmp_path: Path, profile: bytes | None) -> None:
    image = Image.effect_noise((32, 32), 90).convert("RGB")
    image.save(tmp_path / "a.png", icc_profile=profile)
    assert open_picture(tmp_path / "a.png").tobytes() == image.tobytes()
    assert not read_header(tmp_path / "a.png").is_converted


def test_what_is_converted_and_what_is_ignored_is_told(tmp_path: Path) -> None:
    for name, profile in {"a.png": icc.rgb(), "b.png": b"nothing", "c.png": SRGB, "d.png": None}.items():
        Image.open(add(tmp_path, name)).save(tmp_path / name, icc_profile=profile)
    seen = survey(tmp_path)
    assert not seen.problems
    assert (
        seen.notices[0] == f"1 picture(s) are converted to sRGB by their colour profiles, such as {tmp_path / 'a.png'}"
    )
    assert seen.notices[1].startswith(
        f"1 colour profile(s) are ignored: {tmp_path / 'b.png'}: its colour profile is dama"
    )
