"""A garment's colours as a small weighted palette in CIELAB, and the distance between two palettes."""

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

Array = NDArray[np.float64]

NUM_COLOURS = 8
MAX_PIXELS = 4096
"""K-means sees at most this many garment pixels, evenly spaced."""


@dataclass(frozen=True)
class Palette:
    """The colours of the cloth. lab: (K, 3) with K ≤ 8; weights: (K,), sums to 1."""

    lab: Array
    weights: Array
    is_fallback: bool
    """True when no garment was found and a centre window stood in for it."""


def palette(picture: Image.Image) -> Palette:
    """K-means (k = 8, k-means++, fixed seed) of the garment's pixels in CIELAB."""
    lab = rgb2lab(np.asarray(picture.convert("RGB")))
    mask = garment_mask(lab)
    pixels = _cloth(lab, mask)
    centres, labels = _clusters(pixels)
    counts = np.bincount(labels, minlength=len(centres)).astype(float)
    used = counts > 0
    return Palette(centres[used], counts[used] / counts.sum(), mask.is_fallback)


def palette_distance(one: Palette, other: Palette) -> float:
    """Earth mover's distance in ΔE units, ≥ 0: how far the average thread must be re-dyed (Rubner et al. 2000).

    Ground distance CIEDE2000 with kL = 2, the textile industry's setting: lightness counts half.
    """
    costs = deltaE_ciede2000(one.lab[:, None], other.lab[None], kL=2)
    plan = np.asarray(ot.emd(one.weights, other.weights, np.ascontiguousarray(costs)))
    return float((plan * costs).sum())


def _cloth(lab: Array, mask: GarmentMask) -> Array:
    """The garment's pixels, (N, 3), without its outline, where cloth and wall are mixed."""
    core = np.asarray(ndimage.binary_erosion(mask.inside), dtype=bool)
    pixels = lab[core if core.any() else mask.inside]
    return pixels[:: -(-len(pixels) // MAX_PIXELS)]


def _clusters(pixels: Array) -> tuple[Array, NDArray[np.int32]]:
    """Centres (K, 3) and each pixel's centre (N,); fewer distinct colours than 8 are their own centres."""
    distinct, labels = np.unique(pixels, axis=0, return_inverse=True)
    if len(distinct) <= NUM_COLOURS:
        return distinct, labels.astype(np.int32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a centre may end with no pixel of its own; it is dropped by its weight
        return kmeans2(pixels, NUM_COLOURS, minit="++", rng=np.random.default_rng(0))
