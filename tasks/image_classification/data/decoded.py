"""Pictures as bytes, decoded on several threads; those that are always framed alike are kept in memory if they fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.data.pictures import open_picture

Bytes = NDArray[np.uint8]
KEPT_BYTES = 1 << 30
"""Of memory for decoded pictures, in one process."""
NUM_THREADS = 4

Frame = Callable[[Image.Image], Image.Image]


class DecodedPictures:
    """Decodes what is asked for, all at once."""

    def __init__(self, num_pictures: int, size: int) -> None:
        """num_pictures: that may be asked for. size: side of each, pixels."""
        self._keeps = 3 * num_pictures * size**2 <= KEPT_BYTES
        self._kept: dict[Path, Bytes] = {}
        self._pool = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="decode")

    def framed(self, paths: Sequence[Path], frame: Frame) -> Bytes:
        """(B, H, W, 3) of pictures that are framed alike whenever they are asked for.

        Raises:
            DataError: a picture can no longer be read.
        """
        return np.stack([*self._pool.map(lambda path: self._look(path, frame), paths)])

    def each(self, paths: Sequence[Path], frames: Sequence[Frame]) -> Bytes:
        """(B, H, W, 3), each picture framed in its own way.

        Raises:
            DataError: a picture can no longer be read.
        """
        return np.stack([*self._pool.map(_decode, paths, frames)])

    def _look(self, path: Path, frame: Frame) -> Bytes:
        if (kept := self._kept.get(path)) is not None:
            return kept
        decoded = _decode(path, frame)
        if self._keeps:
            self._kept[path] = decoded
        return decoded


def _decode(path: Path, frame: Frame) -> Bytes:
    return np.asarray(frame(open_picture(path)), dtype=np.uint8)
