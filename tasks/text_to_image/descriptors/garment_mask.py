"""Where the garment is: everything the backdrop's colour cannot reach from the border, without any weights.

The backdrop of a product photograph is a wall in soft light: a plane is fitted to the border's colours in CIELAB, and
pixels that resemble it *and* connect to the border are backdrop. Lightness counts half, so that the garment's shadow
is backdrop too. White cloth before a white wall cannot be told apart, and before a street or a room there is no wall to
learn: a mask that is not credible is only a centre window, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist
from skimage.measure import label

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

RESEMBLANCE = 6.0
"""A pixel this near the fitted wall may be backdrop: ΔE (CIE76) with lightness halved."""

MIN_SHARE, MAX_SHARE = 0.05, 0.90
"""A garment covers more than this and less than that of a picture, or the mask is not believed."""

STRICTER = 0.6
"""Times `RESEMBLANCE`: cloth that ends at a wall is the same with this limit, cloth that fades into it is not."""

MIN_AGREEMENT = 0.7
"""Of the masks with both limits: intersection over union."""

NEIGHBOURHOOD = 3.0
"""Times `RESEMBLANCE`: border pixels so near that they are wall or are nearly so."""

MIN_WALL = 0.7
"""Share of these that must be wall. A natural background has every distance; cloth that is cut off is far away."""

CUT_OFF = 0.1
"""A garment with more than this share of the border is cut off by it. A wrong mask nearly always has more, for streets
and rooms go on beyond the border: then more is asked."""

MAX_CLOTH, MAX_EXITS, MIN_SIDE = 0.5, 6, 0.95
"""A garment that is cut off has at most this share of the border, in so many pieces; one side is wall to this share."""

CUT_OFF_AGREEMENT, CUT_OFF_WALL = 0.88, 0.93
"""In place of `MIN_AGREEMENT` and `MIN_WALL`. Pixels beside cloth, where cloth and wall are mixed, are not counted."""

MIXED = 3
"""How far that reaches, pixels."""

RING = 2
"""Width of the border from which the wall's colour is learnt, pixels."""


@dataclass(frozen=True)
class GarmentMask:
    """Which pixels are cloth. `inside`: (H, W) bool; `is_fallback`: True when it is only a centre window."""

    inside: Mask
    is_fallback: bool


def garment_mask(lab: Array) -> GarmentMask:
    """Find the garment. lab: (H, W, 3), CIELAB with L in 0..100."""
    distance = _distance_to_wall(lab)
    inside, stricter = (~_connected_to_border(distance < limit * RESEMBLANCE) for limit in (1.0, STRICTER))
    is_plausible = MIN_SHARE <= inside.mean() <= MAX_SHARE
    if is_plausible and _is_credible(inside, _overlap(inside, stricter), distance):
        return GarmentMask(inside, is_fallback=False)
    return GarmentMask(centre_window(inside.shape), is_fallback=True)


def _is_credible(inside: Mask, agreement: float, distance: Array) -> bool:
    """Whether the mask is a garment before a wall, by the limits above."""
    if agreement < MIN_AGREEMENT or _wall_share(distance) < MIN_WALL:
        return False
    cloth = float(inside[_ring(inside.shape)].mean())
    if cloth <= CUT_OFF:
        return True
    sides = inside[0], inside[:, -1], inside[-1], inside[:, 0]
    return bool(
        cloth <= MAX_CLOTH
        and agreement >= CUT_OFF_AGREEMENT
        and min(side.mean() for side in sides) <= 1 - MIN_SIDE
        and _exits(inside) <= MAX_EXITS
        and _wall_share_apart_from_cloth(distance) >= CUT_OFF_WALL
    )


def _exits(inside: Mask) -> int:
    """In how many pieces cloth lies on the picture's edge; what is shorter than a hundredth of it is not counted."""
    edge = np.concatenate([inside[0], inside[1:-1, -1], inside[-1, ::-1], inside[-2:0:-1, 0]])
    edge = np.roll(edge, -int(edge.argmin()))  # begins with wall, so that no piece is counted twice
    longer = np.asarray(ndimage.binary_opening(edge, np.ones(max(1, len(edge) // 100))))
    return int(np.asarray(label(longer[None])).max())


def _overlap(one: Mask, other: Mask) -> float:
    """Intersection over union of two masks that are not both empty."""
    return float((one & other).sum() / (one | other).sum())


def _wall_share(distance: Array) -> float:
    """How many of the border's pixels near the fitted wall are wall."""
    border = distance[_ring(distance.shape)]
    return float((border < RESEMBLANCE).sum() / max(1, (border < NEIGHBOURHOOD * RESEMBLANCE).sum()))


def _wall_share_apart_from_cloth(distance: Array) -> float:
    """How many of the border's pixels are wall, apart from cloth and what is mixed with it."""
    cloth = np.asarray(
        ndimage.binary_dilation(distance >= 2 * RESEMBLANCE, np.ones((3, 3)), iterations=MIXED), dtype=bool
    )
    border = distance[_ring(distance.shape) & ~cloth]
    return float((border < RESEMBLANCE).mean()) if border.size else 0.0


def _ring(shape: tuple[int, ...]) -> Mask:
    """The picture's border."""
    ring = np.ones(shape, dtype=bool)
    ring[RING:-RING, RING:-RING] = False
    return ring


def _distance_to_wall(lab: Array) -> Array:
    """ΔE (lightness halved) from each pixel to the plane fitted to the border, in units of its own noise; (H, W)."""
    colours, plane = lab * (0.5, 1.0, 1.0), _plane(lab.shape[:2])
    ring = _ring(lab.shape[:2])
    border, terms = colours[ring], plane[ring]
    residual = np.linalg.norm(border - _commonest(border), axis=-1)
    coefficients, noise = np.zeros((3, 3)), 0.0
    for _ in range(3):  # fitted to the nearer pixels only: cloth that touches the border must not tilt the wall
        near = residual <= 2 * RESEMBLANCE
        coefficients = np.linalg.lstsq(terms[near], border[near], rcond=None)[0]
        residual = np.linalg.norm(border - terms @ coefficients, axis=-1)
        noise = float(np.median(residual[near]))
    return np.linalg.norm(colours - plane @ coefficients, axis=-1) / max(1.0, 4 * noise / RESEMBLANCE)


def _commonest(colours: Array, num_candidates: int = 400) -> Array:
    """The colour with most others near it; (3,). A wall is uniform, cloth is not, even with more of the border."""
    candidates = colours[:: max(1, len(colours) // num_candidates)]
    return candidates[np.argmax((cdist(candidates, candidates) < RESEMBLANCE).sum(axis=1))]


def _plane(shape: tuple[int, ...]) -> Array:
    """The terms 1, x, y at every pixel; (H, W, 3)."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    return np.stack([np.ones_like(x), x, y], axis=-1)


def _connected_to_border(resembles: Mask) -> Mask:
    """The regions (4-connected) of `resembles` that touch the picture's border."""
    regions = np.asarray(label(resembles, connectivity=1))
    edges = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    return np.isin(regions, edges[edges > 0])


def centre_window(shape: tuple[int, ...]) -> Mask:
    """The middle half of the height and of the width."""
    window = np.zeros(shape, dtype=bool)
    height, width = shape
    window[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    return window
