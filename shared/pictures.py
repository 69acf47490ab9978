"""Picture files: which are read, how they become upright RGB, and what is wrong with those that cannot be used."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from shared import png
from shared.errors import DataError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp"})
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
OTHER_SUFFIXES = frozenset({".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd"})
"""Pictures too, but not read: named as a problem rather than passed over in silence."""
MAX_PIXELS = 89_478_485
"""Pillow's own limit, above which it warns of a decompression bomb; an error here."""
MAX_RATIO = 10
"""Longest side over shortest; beyond it no crop shows what the picture shows."""
_TURNED = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""
_ORIENTATION = 0x0112

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # an error of ours says it better


def open_picture(path: Path) -> Image.Image:
    """A decoded RGB picture, upright by its EXIF orientation, transparency laid on white, 16 bits scaled to 8.

    Raises:
        DataError: not a PNG, JPEG, WebP or BMP, truncated, animated, too narrow, or a decompression bomb.
    """
    try:
        with Image.open(png.without_texts(path) or path, formats=FORMATS) as picture:
            _refuse(picture)
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I"):  # Pillow's own conversion would cut 16 bits off at 255
                upright = Image.fromarray((np.asarray(upright, dtype=np.uint32) >> 8).astype(np.uint8))
            if "A" in upright.getbands() or "transparency" in upright.info:
                rgba = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
            return upright.convert("RGB")
    except UnidentifiedImageError:
        raise DataError(f"{path}: not a PNG, JPEG, WebP or BMP picture") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: {error}") from None


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height as `open_picture` gives them, from the header alone.

    Raises:
        DataError: the header cannot be read.
    """
    try:
        with Image.open(png.without_texts(path) or path, formats=FORMATS) as picture:
            width, height = picture.size
            turned = picture.getexif().get(_ORIENTATION) in _TURNED
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: {error}") from None
    return (height, width) if turned else (width, height)


def undecodable(paths: Iterable[Path]) -> list[str]:
    """Decode every picture once; what is wrong with those that cannot be used, in order."""
    with ThreadPoolExecutor() as pool:
        return [problem for problem in pool.map(_problem, paths) if problem]


def _problem(path: Path) -> str | None:
    try:
        open_picture(path)
    except DataError as error:
        return str(error)
    return None


def _refuse(picture: Image.Image) -> None:
    """What Pillow would decode, and training should not see."""
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} × {height} pixels: a decompression bomb, or too large by far; shrink it")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise ValueError(f"{width} × {height} pixels: too narrow, no crop shows it")
    if getattr(picture, "is_animated", False) and picture.format != "MPO":  # phones add a preview to a JPEG
        raise ValueError("animated; save the frame that is meant")
