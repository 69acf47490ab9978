"""Where strokes lie in a glyph and how they run: for telling which of thousands of characters a picture shows.

Histograms of gradient directions on a grid, as readers of handwritten characters have used them since the 1990s. Sums
are blurred over neighbouring places, so that fonts may place a stroke a little otherwise, and their roots are taken, so
that thick and thin strokes count alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float32]

REVISION = "1"
"""Changes with any constant below."""
EDGE = 64
"""Edge of the square that is looked at, pixels."""
NUM_DIRECTIONS = 8
CELL = 8
"""Distance of two places of the grid, pixels."""
BLUR = 4.0
"""Standard deviation of a place's window, pixels."""
FLAT = 1e-6
"""A picture whose description is shorter than this has no strokes."""
SMOOTH = 1.0
"""Of the derivatives' Gaussian."""


def describe(picture: Image.Image) -> Array:
    """A unit vector, (512,): place y × place x × direction. All zero for a flat picture."""
    grey = picture.convert("L").resize((EDGE, EDGE), Image.Resampling.BOX)
    ink = gaussian_filter(np.asarray(grey, dtype=np.float32) / 255, SMOOTH)
    dy, dx = np.gradient(ink)
    strength, direction = np.hypot(dx, dy), np.arctan2(dy, dx) * (NUM_DIRECTIONS / (2 * np.pi))
    away = np.abs((direction - DIRECTIONS + NUM_DIRECTIONS / 2) % NUM_DIRECTIONS - NUM_DIRECTIONS / 2)
    votes = np.clip(1 - away, 0, None) * strength  # (direction, y, x); two neighbours share a pixel
    vector = np.sqrt(WINDOWS @ votes @ WINDOWS.T).transpose(1, 2, 0).ravel()
    length = float(np.linalg.norm(vector))
    return (vector / length if length > FLAT else np.zeros_like(vector)).astype(np.float32)


def _windows() -> Array:
    """Gaussian windows along one axis; (place, pixel), each row sums to 1."""
    centres, pixels = np.arange(CELL / 2, EDGE, CELL), np.arange(EDGE) + 0.5
    weights = np.exp(-0.5 * ((pixels - centres[:, None]) / BLUR) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


DIRECTIONS = np.arange(NUM_DIRECTIONS, dtype=np.float32)[:, None, None]
WINDOWS = _windows()
