"""Masks: where the loss of a picture counts. White counts, black does not, grey in between.

A mask has the picture's size, so that both are scaled and cropped to a bucket in the same way. It is a file beside the
picture (`shared.data.sources.mask_files`), or the picture's own transparency.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from shared.data import png
from shared.data.buckets import Size
from shared.data.pictures import FORMATS, KINDS, UNREADABLE, upright_size
from shared.data.sources import Pair
from shared.errors import DataError

Kind = Literal["files", "alpha", "off"]


def read(path: Path, *, alpha: bool = False) -> Image.Image:
    """A mask's greys, 0…1, upright, mode F; of a coloured one the luma, transparent parts black.

    alpha: of a picture, its transparency.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with Image.open(png.without_texts(path) or path, formats=FORMATS) as file:
            upright = ImageOps.exif_transpose(file)
            if upright.mode.startswith("I"):  # Pillow's own conversion would cut 16 bits off at 255
                return Image.fromarray(np.asarray(upright, dtype=np.float32) / 65535)
            if alpha:
                return _scaled(upright.convert("RGBA").getchannel("A"))
            if _is_transparent(upright):
                rgba = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba)
            return _scaled(upright.convert("L"))
    except UnidentifiedImageError:
        raise DataError(f"{path}: not a {KINDS} picture") from None
    except UNREADABLE as error:
        raise DataError(f"{path}: {error}") from None


def has_alpha(picture: Path) -> bool:
    """Whether a picture has transparency at all, from its header.

    Raises:
        DataError: the header cannot be read.
    """
    try:
        with Image.open(png.without_texts(picture) or picture, formats=FORMATS) as file:
            return _is_transparent(file)
    except UNREADABLE as error:
        raise DataError(f"{picture}: {error}") from None


def reduced(mask: Image.Image, size: Size) -> NDArray[np.float32]:
    """The mask at the size of a bucket's latent: cropped like its picture, each value the mean of its area. (height,
    width).

    size: width and height of the latent, which has the bucket's ratio.
    """
    return np.asarray(ImageOps.fit(mask, size, Image.Resampling.BOX), dtype=np.float32).clip(0, 1)


def problems(pairs: Iterable[Pair], kind: Kind) -> list[str]:
    """Read every mask once; the problems of those that cannot be used, in order."""
    with ThreadPoolExecutor() as pool:
        return [problem for problem in pool.map(partial(_problem, kind=kind), pairs) if problem]


def _problem(pair: Pair, kind: Kind) -> str | None:
    path = pair.image if kind == "alpha" else pair.mask
    if kind == "off" or path is None:
        return None
    try:
        if kind == "alpha" and not has_alpha(path):
            return None
        mask, size = read(path, alpha=kind == "alpha"), upright_size(pair.image)
    except DataError as error:
        return str(error)
    if mask.size != size:
        return f"{path}: {mask.width} × {mask.height} pixels, its picture {pair.image.name} has {size[0]} × {size[1]}"
    if not np.asarray(mask).any():
        where = "transparent" if kind == "alpha" else "black"
        return f"{path}: {where} everywhere: nothing of the picture would be trained on"
    return None


def _scaled(grey: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(grey, dtype=np.float32) / 255)


def _is_transparent(picture: Image.Image) -> bool:
    return "A" in picture.getbands() or "transparency" in picture.info
