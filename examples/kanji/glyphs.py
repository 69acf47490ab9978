"""Glyphs as pictures: black on white, centred, 64 × 64."""

from __future__ import annotations

import functools
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIZE = 64
SHARE = 0.86
"""Of the picture's side, the font's size."""


def draw(character: str, font: Path) -> Image.Image:
    """One glyph, (64, 64), 8 bits of grey."""
    face = _face(font)
    picture = Image.new("L", (SIZE, SIZE), 255)
    left, top, right, bottom = face.getbbox(character)
    place = ((SIZE - left - right) / 2, (SIZE - top - bottom) / 2)
    ImageDraw.Draw(picture).text(place, character, font=face, fill=0)
    return picture


@functools.cache
def _face(font: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font, round(SIZE * SHARE))
