"""Where the subject is, on the grid of places that an encoder sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Mask = NDArray[np.bool_]

HALF = 0.5
"""A place belongs to the subject if more than this share of it does."""


def on_square(mask: Mask, edge: int) -> Mask:
    """A picture's mask, (H, W), on a grid of edge × edge that covers the picture padded to a square; (edge · edge,),
    row by row. What is padded is outside.
    """
    height, width = mask.shape
    side = max(height, width)
    square = np.zeros((side, side), dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = mask.astype(np.uint8) * 255
    grid = Image.fromarray(square).resize((edge, edge), Image.Resampling.BOX)
    return np.asarray(grid).ravel() > HALF * 255
