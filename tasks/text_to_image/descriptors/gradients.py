"""A perceptual descriptor without weights: where edges lie, how they point, at which scale, in lightness and in colour.

In the family of GIST (Oliva & Torralba 2001) and HOG (Dalal & Triggs 2005), made for comparing whole pictures:
pooling windows are wide, so that a shift of some percent hardly counts, and a mirror image counts little. Energy is
the squared gradient without contrast normalization, so that blur and flat grey count much. Directions are signed and
the axes a*, b* have their own, so that a red sleeve on a light wall is not a green one. It knows no semantics: to it,
grass and gravel photographed in grey are nearly one texture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from skimage.color import rgb2lab

from tasks.text_to_image.encoders.encoder import EncoderRecord, Vector, pad_to_square

Array = NDArray[np.float32]

RECORD = EncoderRecord(model="gradients", revision="1")
"""Goes into every result. The revision changes with any constant below."""

EDGE = 128
"""Edge of the square the descriptor looks at, pixels."""
SCALES = (0.7, 1.4, 2.8, 5.6)
"""Standard deviations of the derivatives' Gaussians, pixels."""
NUM_DIRECTIONS = 8
NUM_WINDOWS = 2
"""Pooling windows along each axis."""
WINDOW_WIDTH = 0.3
"""Standard deviation of a pooling window, as a share of the picture."""
COLOUR_WEIGHT = 2.0
"""Edges in a* and b* against edges in L*."""
MIRROR_SHARE = 0.375
"""How much of the mirrored descriptor is blended in: 0 tells left from right fully, 0.5 not at all."""
FLOOR = 1e-5
"""A constant entry: two flat pictures are alike, a flat and a textured one are not."""


def describe(picture: Image.Image) -> Vector:
    """The picture's unit vector, (385,) float32 ≥ 0: scale × channel × window × window × direction, and the floor."""
    square = pad_to_square(picture).resize((EDGE, EDGE), Image.Resampling.BICUBIC)
    lab = (rgb2lab(np.asarray(square)) / 100).astype(np.float32)
    channels = lab[..., 0], COLOUR_WEIGHT * lab[..., 1], COLOUR_WEIGHT * lab[..., 2]
    energies = np.stack([_pooled_energy(channel, scale) for scale in SCALES for channel in channels])
    blended = (1 - MIRROR_SHARE) * energies + MIRROR_SHARE * _mirrored(energies)
    vector = np.append(blended.ravel(), np.float32(FLOOR))
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _pooled_energy(channel: Array, scale: float) -> Array:
    """Gradient energy, (window y, window x, direction). An ideal edge has the same at every scale."""
    dy, dx = (_derivative(channel, scale, axis) for axis in (0, 1))
    direction = np.arctan2(dy, dx) * np.float32(NUM_DIRECTIONS / (2 * np.pi))
    offset = np.abs((direction - DIRECTIONS + NUM_DIRECTIONS / 2) % NUM_DIRECTIONS - NUM_DIRECTIONS / 2)
    votes = np.clip(1 - offset, 0, None) * (scale * (dx**2 + dy**2))  # (direction, y, x); two neighbours share a pixel
    return np.asarray(WINDOWS @ votes @ WINDOWS.T, dtype=np.float32).transpose(1, 2, 0)


def _derivative(channel: Array, scale: float, axis: int) -> Array:
    """Gaussian derivative along one axis; (H, W)."""
    smooth = gaussian_filter1d(channel, scale, axis=1 - axis, mode="nearest")
    return np.asarray(gaussian_filter1d(smooth, scale, axis=axis, order=1, mode="nearest"), dtype=np.float32)


def _mirrored(energies: Array) -> Array:
    """What the mirrored picture's energies would be: windows change sides, direction θ becomes π − θ."""
    return energies[:, :, ::-1, (NUM_DIRECTIONS // 2 - np.arange(NUM_DIRECTIONS)) % NUM_DIRECTIONS]


def _windows() -> Array:
    """Overlapping Gaussian windows along one axis; (window, pixel), each row sums to 1."""
    centres, pixels = (np.arange(NUM_WINDOWS) + 0.5) / NUM_WINDOWS, (np.arange(EDGE) + 0.5) / EDGE
    weights = np.exp(-0.5 * ((pixels - centres[:, None]) / WINDOW_WIDTH) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


DIRECTIONS = np.arange(NUM_DIRECTIONS, dtype=np.float32)[:, None, None]
WINDOWS = _windows()
