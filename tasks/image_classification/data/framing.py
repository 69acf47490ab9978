"""How a picture becomes the square that the network sees, before it becomes numbers."""

from __future__ import annotations

import math

from PIL import Image, ImageOps

BICUBIC = Image.Resampling.BICUBIC
MOST_STRETCHED = 4 / 3
"""Of a random cut: width over height, or height over width."""


def fit(picture: Image.Image, size: int) -> Image.Image:
    """The largest square in the middle, scaled."""
    return ImageOps.fit(picture, (size, size), BICUBIC)


def cut(picture: Image.Image, size: int, share: float, shape: float, left: float, top: float) -> Image.Image:
    """A part of a picture, scaled to a square (Szegedy et al. 2015, §6).

    share: of the area, 0…1. shape: 0…1, from tall to wide. left, top: 0…1, where it lies.
    """
    ratio = math.exp((2 * shape - 1) * math.log(MOST_STRETCHED))
    width = min(picture.width, max(1, round(math.sqrt(share * picture.width * picture.height * ratio))))
    height = min(picture.height, max(1, round(math.sqrt(share * picture.width * picture.height / ratio))))
    x, y = round(left * (picture.width - width)), round(top * (picture.height - height))
    return picture.resize((size, size), BICUBIC, box=(x, y, x + width, y + height))
