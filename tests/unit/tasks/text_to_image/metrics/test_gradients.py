import numpy as np
import pytest
from PIL import Image, ImageOps

from tasks.text_to_image.descriptors.gradients import describe


def distance(one: Image.Image, other: Image.Image) -> float:
    return float(1 - describe(one) @ describe(other))


def test_a_description_is_a_non_negative_unit_vector(garments: list[Image.Image]):
    vector = describe(garments[0])
    assert vector.shape == (385,)
    assert vector.dtype == np.float32
    assert vector.min() >= 0
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_two_flat_pictures_are_alike_and_a_flat_one_is_unlike_a_garment(garments: list[Image.Image]):
    grey = Image.new("RGB", (128, 128), "grey")
    assert distance(grey, Image.new("RGB", (64, 64), "white")) == pytest.approx(0, abs=1e-6)
    assert distance(grey, garments[0]) > 0.9


def test_a_mirror_image_is_near_but_not_the_same():
    picture = Image.new("RGB", (128, 128), "white")
    picture.paste("black", (10, 20, 40, 110))
    assert 0.001 < distance(picture, ImageOps.mirror(picture)) < 0.1


def test_the_hue_of_equally_light_cloth_counts():
    red, teal = Image.new("RGB", (128, 128), "white"), Image.new("RGB", (128, 128), "white")
    red.paste((200, 70, 70), (30, 30, 98, 98))
    teal.paste((0, 128, 128), (30, 30, 98, 98))
    assert distance(red, teal) > 0.1


def test_size_does_not_count(garments: list[Image.Image]):
    assert distance(garments[0], garments[0].resize((512, 512), Image.Resampling.BICUBIC)) < 0.01
