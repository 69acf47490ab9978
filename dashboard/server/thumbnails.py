"""Smaller copies of large pictures for the wall, made on the first request and kept in memory; the files do not
change.

A file of some kilobytes can unpack to gigabytes, so its header is read first, and few are unpacked at once.
"""

from __future__ import annotations

import functools
import io
import threading
import warnings
from pathlib import Path

from PIL import Image, ImageOps

from shared.data import masks
from shared.data.pictures import FORMATS, on_white

SIDE = 384
QUALITY = 90
KEPT = 1024
MAX_PIXELS = 40_000_000
"""Unpacked, 120 MB; a picture of more is shown nowhere but by itself."""
AT_ONCE = threading.Semaphore(2)


def pixels_of(path: Path) -> tuple[int, int]:
    """Width and height as the header says; (0, 0) if it is no picture that can be read."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            return picture.size
    except Image.DecompressionBombError:
        return MAX_PIXELS, MAX_PIXELS
    except (OSError, ValueError, SyntaxError):
        return 0, 0


def is_huge(path: Path) -> bool:
    """Whether unpacking a picture would take too much memory."""
    width, height = pixels_of(path)
    return width * height > MAX_PIXELS


def is_large(path: Path) -> bool:
    """Whether a picture is larger than the wall shows it; an unreadable one is sent unchanged."""
    return max(pixels_of(path)) > SIDE


def thumbnail(path: Path) -> bytes:
    """WebP, 384 pixels at the longer side.

    Raises:
        OSError: the picture is damaged.
    """
    return _thumbnail(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=KEPT)
def _thumbnail(path: Path, _written: int) -> bytes:
    with AT_ONCE, Image.open(path) as picture:
        picture.draft("RGB", (SIDE, SIDE))  # a JPEG is unpacked no larger than needed
        shown = picture.convert("RGB")
        shown.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, "WEBP", quality=QUALITY)
    return buffer.getvalue()


def picture_copy(path: Path, side: int) -> bytes:
    """WebP of a picture anywhere on the disk, upright, no larger than `side` at the longer side.

    Raises:
        OSError, ValueError, SyntaxError: it cannot be read.
    """
    return _copy(path, path.stat().st_mtime_ns, side)


def mask_copy(path: Path, side: int, *, alpha: bool) -> bytes:
    """Likewise of a mask in greys. alpha: of a picture, its transparency.

    Raises:
        OSError, ValueError, SyntaxError, DataError: it cannot be read.
    """
    return _mask_copy(path, path.stat().st_mtime_ns, side, alpha)


@functools.lru_cache(maxsize=KEPT)
def _copy(path: Path, _written: int, side: int) -> bytes:
    with AT_ONCE, Image.open(path, formats=FORMATS) as picture:
        picture.draft("RGB", (side, side))
        shown = ImageOps.exif_transpose(picture)
        if shown.mode.startswith("I"):
            shown = shown.point(lambda value: value / 256).convert("L")
        shown = on_white(shown)
        shown.thumbnail((side, side), Image.Resampling.LANCZOS)
        return _webp(shown)


@functools.lru_cache(maxsize=KEPT)
def _mask_copy(path: Path, _written: int, side: int, alpha: bool) -> bytes:
    with AT_ONCE:
        shown = masks.read(path, alpha=alpha).point(lambda value: 255 * value).convert("L")
        shown.thumbnail((side, side), Image.Resampling.BOX)
        return _webp(shown)


def _webp(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY)
    return buffer.getvalue()
