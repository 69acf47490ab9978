"""Pictures that show the same to the eye: one encoded again, resized, brightened, mirrored, the next of a series.

A digest does not see them. A held-out picture whose near-duplicate is trained on makes learning by heart look like
learning: `shared.data.split.groups` keeps them on one side of the split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from shared.data.pictures import FORMATS, UNREADABLE, open_picture
from shared.errors import DataError
from shared.files.file_facts import Remembered

EDGE = 16
"""Edge of a thumbprint, pixels."""
DRAFT = 64
"""A JPEG is decoded at an eighth of its size or more, but not below this edge."""
ALIKE = 0.99
"""Correlation of two thumbprints: of a photograph halved and encoded again above it, of others alike below 0.975, also
mirrored."""
BLOCK = 1000
"""Pictures compared with all others at once."""


class Thumbprints(Remembered[str]):
    """Call it with a picture: its thumbprint."""

    def __init__(self, path: Path) -> None:
        """path: where `save` keeps the facts."""
        super().__init__(path, thumbprint, str)

    def look_at(self, images: Iterable[Path]) -> None:
        """At pictures that will be asked for, on all cores.

        Raises:
            DataError: one cannot be read.
        """
        with ThreadPoolExecutor() as pool:
            for _ in pool.map(self, images):
                pass


def thumbprint(path: Path) -> str:
    """The picture in shades of grey at 16 × 16 pixels, as hexadecimal bytes.

    Raises:
        DataError: it cannot be read.
    """
    return _grey(path).resize((EDGE, EDGE), Image.Resampling.BOX).tobytes().hex()


def near_duplicates(images: Sequence[Path], thumbprint: Callable[[Path], str]) -> list[tuple[int, int]]:
    """Positions of each two pictures that look alike, also mirrored, the smaller first. A picture of one colour is like
    no other."""
    prints_ND = np.array([np.frombuffer(bytes.fromhex(thumbprint(image)), np.uint8) for image in images], np.float32)
    if not len(prints_ND):
        return []
    prints_ND -= prints_ND.mean(axis=1, keepdims=True)
    prints_ND /= np.maximum(np.linalg.norm(prints_ND, axis=1, keepdims=True), 1e-6)
    mirrored_ND = prints_ND.reshape(-1, EDGE, EDGE)[:, :, ::-1].reshape(prints_ND.shape)
    found: list[tuple[int, int]] = []
    for start in range(0, len(prints_ND), BLOCK):
        block_ND = prints_ND[start : start + BLOCK]
        likeness = np.maximum(block_ND @ prints_ND.T, block_ND @ mirrored_ND.T)
        alike: NDArray[Any] = np.argwhere(likeness >= ALIKE)
        found.extend((start + int(one), int(other)) for one, other in alike if start + one < other)
    return found


def _grey(path: Path) -> Image.Image:
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.format == "JPEG":
                picture.draft("L", (DRAFT, DRAFT))
                return ImageOps.exif_transpose(picture).convert("L")
    except UNREADABLE as error:
        raise DataError(f"{path}: {error}") from None
    return open_picture(path).convert("L")
