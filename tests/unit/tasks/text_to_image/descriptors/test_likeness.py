"""How alike two pictures are, whatever their softness, place and direction."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from pocket.lessons.garments import catalogue, render
from tasks.text_to_image.descriptors.likeness import lightness, likeness, same_place_likeness


@pytest.fixture(scope="module")
def kimono() -> Image.Image:
    return render(catalogue()[40], 5, 192)[0]


def alike(one: Image.Image, other: Image.Image) -> float:
    return float(likeness(lightness(one)[None], lightness(other)[None])[0, 0])


def part(picture: Image.Image, left: int, top: int, side: int) -> Image.Image:
    return picture.resize((128, 128), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))


def test_softness_contrast_light_and_direction_cost_nothing(kimono: Image.Image) -> None:
    assert alike(kimono, kimono) == pytest.approx(1, abs=1e-4)
    assert alike(kimono.filter(ImageFilter.GaussianBlur(3)), kimono) > 0.99
    assert alike(kimono.point(lambda value: 40 + value * 0.6), kimono) > 0.99
    assert alike(ImageOps.mirror(kimono), kimono) > 0.99


def test_a_shift_or_a_crop_costs_nothing_and_another_picture_of_the_same_garment_does(kimono: Image.Image) -> None:
    whole = part(kimono, 16, 16, 160)
    assert alike(part(kimono, 10, 20, 160), whole) > 0.99, "shifted by 4 %"
    assert alike(ImageOps.mirror(part(kimono, 16, 40, 136)), whole) > 0.99, "cropped to 85 %"
    assert alike(part(kimono, 16, 16, 96), whole) < 0.9, "cropped to 60 %"
    assert alike(part(render(catalogue()[40], 6, 192)[0], 16, 16, 160), whole) < 0.95


def test_each_is_compared_with_each(garments: list[Image.Image]) -> None:
    vectors: NDArray[np.float32] = np.stack([lightness(picture) for picture in garments])
    among = likeness(vectors[:2], vectors)
    assert among.shape == (2, len(garments))
    assert among.argmax(axis=1).tolist() == [0, 1]
    same_place = same_place_likeness(vectors, vectors)
    np.testing.assert_allclose(same_place, same_place.T, atol=1e-5)
    assert (np.diag(same_place) > 0.9999).all()


def test_a_flat_picture_is_like_none(kimono: Image.Image) -> None:
    flat = Image.new("RGB", (64, 64), "grey")
    assert abs(alike(flat, kimono)) < 0.9
    assert abs(alike(flat, flat)) < 0.9
