"""A contact sheet: everything on it, and small."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tasks.text_to_image.evaluation import contact_sheet
from tasks.text_to_image.evaluation.image_generator import Job
from tasks.text_to_image.evaluation.references import References


def noise(seed: int, size: tuple[int, int] = (256, 256)) -> Image.Image:
    """The hardest picture to make small."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def sheet_of(num_prompts: int, num_seeds: int) -> bytes:
    names = [f"p{number}" for number in range(num_prompts)]
    references = References(dict.fromkeys(names, "a dress"), {name: noise(1) for name in names})
    drawn = [(Job(name, "a dress", seed, (256, 256), 0), noise(seed)) for name in names for seed in range(num_seeds)]
    return contact_sheet.draw(references, drawn)


@pytest.mark.parametrize(("num_prompts", "num_seeds"), [(2, 1), (16, 2), (32, 1), (100, 4)])
def test_a_sheet_stays_small_however_many_pictures_there_are(num_prompts: int, num_seeds: int) -> None:
    data = sheet_of(num_prompts, num_seeds)
    assert len(data) <= contact_sheet.MAX_BYTES
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as picture:
        width, height = picture.size
    tile = (height + contact_sheet.GAP) // num_prompts - contact_sheet.GAP
    assert tile >= contact_sheet.MIN_TILE
    assert width == (tile + contact_sheet.GAP) * (1 + num_seeds) - contact_sheet.GAP


def test_seeds_stand_in_order_behind_their_own_reference_whatever_order_they_were_drawn_in() -> None:
    colours = {"a": (200, 0, 0), "b": (0, 0, 200)}
    references = References(
        dict.fromkeys(colours, "x"), {name: Image.new("RGB", (64, 64), colour) for name, colour in colours.items()}
    )
    drawn = [
        (Job(name, "x", seed, (64, 64), 0), Image.new("RGB", (64, 64), (seed, seed, seed)))
        for seed, name in ((220, "b"), (40, "a"), (120, "a"), (180, "b"))
    ]
    with Image.open(io.BytesIO(contact_sheet.draw(references, drawn)), formats=["WEBP"]) as picture:
        pixels = np.asarray(picture.convert("RGB"), int)
    step = contact_sheet.MAX_TILE + contact_sheet.GAP
    centres = pixels[contact_sheet.MAX_TILE // 2 :: step, contact_sheet.MAX_TILE // 2 :: step]
    expected = [[(200, 0, 0), (40,) * 3, (120,) * 3], [(0, 0, 200), (180,) * 3, (220,) * 3]]
    assert np.abs(centres - np.array(expected)).max() < 12
