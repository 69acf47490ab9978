"""In how many pictures of a data set the garment can be told from its background: only there colours are compared.

Never imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from skimage.color import rgb2lab

from shared.data.pictures import open_picture
from shared.errors import DataError
from tasks.text_to_image.descriptors.garment_mask import garment_mask

MOST_LOOKED_AT = 24
EDGE = 384
"""Pictures are looked at with their longer side shrunk to this, pixels: `init` must not take minutes."""
CURE = "set evaluation.segmenter, or take pictures before a plain wall of another colour"


def sentence(pictures: Sequence[Path]) -> str:
    """What `init` says where garments blend into their background, with the cure; empty where none does."""
    looked_at = [found for path in _spread(pictures) if (found := _blends(path)) is not None]
    if not (blending := sum(looked_at)):
        return ""
    whole = "colours will not count" if 2 * blending > len(looked_at) else "colours are not compared there"
    return (
        f"in {blending} of {len(looked_at)} pictures looked at, the garment cannot be told from its background: "
        f"{whole}; {CURE}"
    )


def _spread(pictures: Sequence[Path]) -> Sequence[Path]:
    return pictures[:: -(-len(pictures) // MOST_LOOKED_AT)] if pictures else ()


def _blends(path: Path) -> bool | None:
    """None: the picture cannot be read, which is told elsewhere."""
    try:
        picture = open_picture(path).convert("RGB")
    except DataError:
        return None
    picture.thumbnail((EDGE, EDGE))
    return garment_mask(rgb2lab(np.asarray(picture))).is_fallback
