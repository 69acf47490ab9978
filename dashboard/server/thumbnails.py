"""Smaller copies of large pictures for the wall, made on the first request and kept in memory; the files do not
change."""

from __future__ import annotations

import functools
import io
from pathlib import Path

from PIL import Image

SIDE = 384
QUALITY = 90
KEPT = 1024


def is_large(path: Path) -> bool:
    """Whether a picture is larger than the wall shows it; an unreadable one is sent unchanged."""
    try:
        with Image.open(path) as picture:
            return max(picture.size) > SIDE
    except OSError:
        return False


def thumbnail(path: Path) -> bytes:
    """WebP, 384 pixels at the longer side."""
    return _thumbnail(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=KEPT)
def _thumbnail(path: Path, _written: int) -> bytes:
    with Image.open(path) as picture:
        shown = picture.convert("RGB")
    shown.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, "WEBP", quality=QUALITY)
    return buffer.getvalue()
