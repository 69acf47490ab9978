"""Picture files: which formats are read, how they become upright sRGB, and why a file cannot be used."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features
from PIL.TiffImagePlugin import TiffImageFile

from shared.data import colour, png
from shared.errors import DataError

ENDINGS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jfif"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    **({"AVIF": (".avif",)} if features.check("avif") else {}),
}
"""Formats that are read: Pillow's name → endings, the usual one first. No other file is opened."""
FORMATS = tuple(ENDINGS)
SUFFIXES: frozenset[str] = frozenset(ending for endings in ENDINGS.values() for ending in endings)
KINDS = ", ".join(name.replace("WEBP", "WebP") for name in FORMATS[:-1]) + f" or {FORMATS[-1]}"
"""For messages."""
OTHER_SUFFIXES = frozenset({".gif", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd"}) - SUFFIXES
"""Formats that are not read: reported as a problem rather than ignored."""
UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError),
    *(KeyError, TypeError, IndexError, RuntimeError, OverflowError, struct.error),
)
"""Errors that Pillow raises for damaged files; those of the second line for contradictory TIFFs."""
MAX_PIXELS = 89_478_485
"""Pillow's own limit, above which it warns of a decompression bomb; an error here."""
MAX_RATIO = 10
"""Longest side over shortest; beyond it no crop shows what the picture shows."""
MIN_SIDE = 8
"""Pixels: less than one place of any latent, so nothing can be seen in it."""
_TURNED = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""
_ORIENTATION = 0x0112

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # an error of ours says it better
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")  # of tags that no pixel depends on


class Header(NamedTuple):
    """Facts about a picture before it is decoded."""

    size: tuple[int, int]
    """Width and height when it is upright."""
    is_converted: bool = False
    """Whether its colour profile changes its colours."""
    profile_fault: str | None = None
    """Why its colour profile is ignored."""


def open_picture(path: Path) -> Image.Image:
    """A decoded sRGB picture, upright by its EXIF orientation, transparency laid on white, 16 bits scaled to 8.

    A colour profile that cannot be used is ignored.

    Raises:
        DataError: of no kind that is read, truncated, animated, of several pages, too narrow, or a decompression bomb.
    """
    try:
        with Image.open(png.without_texts(path) or path, formats=FORMATS) as picture:
            _refuse(picture)
            upright = _plain(ImageOps.exif_transpose(picture))
            if upright.mode.startswith("I"):  # Pillow's own conversion would cut 16 bits off at 255
                profile = upright.info.get("icc_profile")
                upright = Image.fromarray((np.asarray(upright, dtype=np.uint32) >> 8).astype(np.uint8))
                upright.info["icc_profile"] = profile
            upright = colour.to_srgb(upright)
            return on_white(upright)
    except UnidentifiedImageError:
        raise DataError(f"{path}: not a {KINDS} picture") from None
    except UNREADABLE as error:
        raise DataError(f"{path}: {error}") from None


def on_white(picture: Image.Image) -> Image.Image:
    """An RGB picture, transparency laid on white."""
    if "A" in picture.getbands() or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return picture.convert("RGB")


def read_header(path: Path) -> Header:
    """The size and colours that `open_picture` will give, without decoding the picture.

    Raises:
        DataError: the header cannot be read.
    """
    try:
        with Image.open(png.without_pixels(path) or path, formats=FORMATS) as picture:
            width, height = picture.size
            turned = not isinstance(picture, TiffImageFile) and _is_turned(picture)  # a TIFF's size is upright already
            return Header(
                (height, width) if turned else (width, height),
                colour.is_converted(picture),
                colour.profile_fault(picture),
            )
    except UNREADABLE as error:
        raise DataError(f"{path}: {error}") from None


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height as `open_picture` gives them, from the header alone.

    Raises:
        DataError: the header cannot be read.
    """
    return read_header(path).size


def _is_turned(picture: Image.Image) -> bool:
    return Image.Image.getexif(picture).get(_ORIENTATION) in _TURNED  # a PNG's own would decode it


def _plain(picture: Image.Image) -> Image.Image:
    """The same picture in a mode that can be converted to RGB as it looks.

    Raises:
        ValueError: its numbers have no largest one, or no colour that is agreed on.
    """
    if picture.mode == "F":
        raise ValueError("floating-point pixels, of which none is known to be white; save it with 8 or 16 bits")
    if picture.mode == "I" and (np.asarray(picture) >> 16).any():
        raise ValueError("32-bit pixels; save it with 8 or 16 bits")
    if picture.mode == "LAB":
        raise ValueError("Lab colours; save it in RGB")
    return picture.convert(picture.mode.upper()) if picture.mode in ("RGBa", "La") else picture


def _refuse(picture: Image.Image) -> None:
    """Raise for pictures that Pillow decodes but training must not use."""
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} × {height} pixels: a decompression bomb, or too large by far; shrink it")
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"{width} × {height} pixels: too small, give at least {MIN_SIDE} × {MIN_SIDE}")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise ValueError(f"{width} × {height} pixels: too narrow, no crop shows it")
    if getattr(picture, "is_animated", False) and picture.format != "MPO":  # phones add a preview to a JPEG
        what = "several pages" if picture.format == "TIFF" else "animated"
        raise ValueError(f"{what}; save the one that is meant")
