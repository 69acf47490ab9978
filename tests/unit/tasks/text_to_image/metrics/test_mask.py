from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.color import rgb2lab

from pocket.lessons.garments import Garment, catalogue, concept, render
from tasks.text_to_image.descriptors.garment_mask import GarmentMask, garment_mask


def found(picture: Image.Image) -> GarmentMask:
    return garment_mask(rgb2lab(np.asarray(picture)))


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_the_mask_of_catalogue_garments_overlaps_the_exact_one_by_nine_tenths():
    chosen = np.random.default_rng(20).choice(len(catalogue()), 40, replace=False)
    pairs = [render(catalogue()[index], seed) for seed, index in enumerate(chosen)]
    overlaps = [overlap(found(picture).inside, exact) for picture, exact in pairs]
    assert np.mean(overlaps) > 0.9
    assert np.min(overlaps) > 0.5


def test_cloth_that_fills_most_of_the_border_is_still_cloth():
    for seed, garment in enumerate(concept(8)):
        picture, exact = render(garment, seed)
        box = (20, 10, 116, 106)
        mask = found(picture.crop(box))
        assert not mask.is_fallback
        assert overlap(mask.inside, exact[10:106, 20:116]) > 0.6


def test_a_wall_lit_from_one_side_is_wall():
    light = np.linspace(190, 250, 128).round().astype(np.uint8)
    pixels = np.repeat(np.repeat(light[None, :, None], 128, axis=0), 3, axis=2)
    pixels[40:90, 40:90] = (180, 30, 40)
    expected = np.zeros((128, 128), dtype=bool)
    expected[40:90, 40:90] = True
    assert overlap(found(Image.fromarray(pixels)).inside, expected) > 0.95


def test_an_empty_wall_falls_back_to_a_centre_window_and_says_so():
    mask = found(Image.new("RGB", (64, 48), (240, 238, 236)))
    assert mask.is_fallback
    assert mask.inside[12:36, 16:48].all()
    assert mask.inside.mean() == 0.25


def test_a_picture_without_a_wall_falls_back():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert found(Image.fromarray(noise)).is_fallback


def test_a_white_shirt_on_a_grey_wall_is_found():
    picture, exact = render(Garment("t-shirt", "grey", "plain"), 3)
    assert overlap(found(picture).inside, exact) > 0.9


def before(picture: Image.Image, exact: np.ndarray, background: Image.Image) -> Image.Image:
    return Image.composite(picture, background.resize(picture.size), Image.fromarray(exact.astype(np.uint8) * 255))


@pytest.mark.parametrize(
    "photograph", [data.astronaut, data.chelsea, data.coffee, data.rocket, data.immunohistochemistry]
)
def test_a_mask_before_a_natural_background_is_right_or_not_believed(photograph: Callable[[], np.ndarray]):
    background = Image.fromarray(photograph())
    for seed, garment in enumerate(concept(4)):
        picture, exact = render(garment, 300 + seed)
        mask = found(before(picture, exact, background))
        assert mask.is_fallback or overlap(mask.inside, exact) > 0.7


def test_things_that_stand_along_the_border_are_no_garment():
    picture, _ = render(Garment("dress", "red", "plain"), 5)
    assert not found(picture).is_fallback
    for number in range(8):
        picture.paste((90, 60 + 10 * number, 30), (4 + 16 * number, 112, 12 + 16 * number, 128))
    assert found(picture).is_fallback


def test_white_cloth_that_fades_into_a_white_wall_is_not_believed():
    picture = Image.new("RGB", (128, 128), (244, 243, 241))
    for row in range(30, 100):  # the upper half is as light as the wall, the lower one a little darker
        shade = 242 - max(0, row - 50) // 2
        picture.paste((shade, shade, shade - 2), (30, row, 98, row + 1))
    assert found(picture).is_fallback
