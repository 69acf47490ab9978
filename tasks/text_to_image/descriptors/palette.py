"""A garment's colours as a small palette in CIELAB, weighted for each quarter of its cloth; the distance of two.

Quarters are counted in cloth, from the top: a shift, a mirror image, another size or pose leave them as they are, and a
garment with top and bottom swapped is another garment. Left and right, sleeve and body are not told apart.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import ot
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.cluster.vq import kmeans2
from skimage.color import deltaE_ciede2000, rgb2lab

from tasks.text_to_image.descriptors.garment_mask import GarmentMask, garment_mask
from tasks.text_to_image.encoders.encoder import EncoderRecord

Array = NDArray[np.float64]

RECORD = EncoderRecord(model="palette", revision="2")
"""Goes into every result. The revision changes with any constant below, and with the mask's."""

NUM_COLOURS = 8
MAX_PIXELS = 4096
"""K-means sees at most this many garment pixels, evenly spaced."""
NUM_BANDS = 4
"""Quarters of the cloth, from the top to the hem: as many pixels in each."""
SOFTNESS = 0.6
"""Width of the passage from one band to the next, as a share of a band: a stripe that moves across it hardly counts."""


@dataclass(frozen=True)
class Palette:
    """The colours of the cloth. lab: (K, 3) with K ≤ 8; weights: (NUM_BANDS, K), from the top, each row sums to 1."""

    lab: Array
    weights: Array
    is_fallback: bool
    """True when no garment was found and a centre window stood in for it."""


def palette(picture: Image.Image, mask: GarmentMask | None = None) -> Palette:
    """K-means (k = 8, k-means++, fixed seed) of the garment's pixels in CIELAB, counted in each band.

    mask: where the garment is; None: where `garment_mask` finds it.
    """
    lab = rgb2lab(np.asarray(picture.convert("RGB")))
    mask = mask or garment_mask(lab)
    pixels = _cloth(lab, mask)
    centres, labels = _clusters(pixels)
    counts = _bands(len(pixels)) @ np.eye(len(centres))[labels]
    used = counts.any(axis=0)
    weights = np.ascontiguousarray(counts[:, used] / counts.sum(axis=1, keepdims=True))
    return Palette(centres[used], weights, mask.is_fallback)


def palette_distance(one: Palette, other: Palette) -> float:
    """How far the average thread must be re-dyed in its quarter of the cloth, in ΔE units, ≥ 0.

    The mean over the bands of the earth mover's distance (Rubner et al. 2000). Ground distance CIEDE2000 with kL = 2,
    the textile industry's setting: lightness counts half.
    """
    costs = np.ascontiguousarray(deltaE_ciede2000(one.lab[:, None], other.lab[None], kL=2))
    plans = [np.asarray(ot.emd(ours, theirs, costs)) for ours, theirs in zip(one.weights, other.weights, strict=True)]
    return float(np.mean([(plan * costs).sum() for plan in plans]))


def _cloth(lab: Array, mask: GarmentMask) -> Array:
    """The garment's pixels from the top, (N, 3), without its outline, where cloth and wall are mixed."""
    core = np.asarray(ndimage.binary_erosion(mask.inside), dtype=bool)
    pixels = lab[core if core.any() else mask.inside]
    return pixels[:: -(-len(pixels) // MAX_PIXELS)]


def _bands(num_pixels: int) -> Array:
    """How much each pixel belongs to each band, (NUM_BANDS, N); a column sums to 1. Pixels come from the top."""
    height = (np.arange(num_pixels) + 0.5) / num_pixels * NUM_BANDS
    below = [np.clip((height - edge) / SOFTNESS + 0.5, 0, 1) for edge in range(1, NUM_BANDS)]
    return -np.diff(np.stack([np.ones(num_pixels), *below, np.zeros(num_pixels)]), axis=0)


def _clusters(pixels: Array) -> tuple[Array, NDArray[np.int32]]:
    """Centres (K, 3) and each pixel's centre (N,); fewer distinct colours than 8 are their own centres."""
    distinct, labels = np.unique(pixels, axis=0, return_inverse=True)
    if len(distinct) <= NUM_COLOURS:
        return distinct, labels.astype(np.int32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a centre may end with no pixel of its own; it is dropped by its weight
        return kmeans2(pixels, NUM_COLOURS, minit="++", rng=np.random.default_rng(0))
