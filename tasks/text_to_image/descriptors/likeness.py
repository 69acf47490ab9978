"""How alike two pictures are where one may be softer, shifted, cropped, mirrored, recoloured or encoded again.

A perceptual embedding is made so that two pictures of one kind are near; here they are to be far, and only a picture
and what was made of it near. Both are compared by the cosines of their lightness (a DCT). The cosines of one frequency,
whatever their direction, form a ring; each ring is brought to the same length in both pictures. So softness costs
nothing: it scales a whole ring. The second picture is looked at through windows of many places and sizes, and the best
one counts.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.text_to_image.encoders.encoder import EncoderRecord, Vector, pad_to_square

Floats = NDArray[np.float32]

RECORD = EncoderRecord(model="likeness", revision="1")
EDGE = 64
"""Edge of the square that is kept of a picture, pixels."""
NUM_FREQUENCIES = 16
"""Up to 7.5 waves in a window: above, the pocket autoencoder keeps nothing; with 12, garments are too alike."""
MARGIN = 0.06
"""Share of a picture that is left out on each side, so that a shifted one still shows what is compared."""
ZOOMS = (1.0, 0.96, 0.92, 0.88, 0.84, 0.8)
"""Share of the other picture's edges that is left after cropping."""
SHIFT = 0.06
"""Furthest shift, share of the edge."""
STEP = 0.02
"""From one window to the next, share of the edge."""
NUM_REFINED = 3
"""Most alike pictures whose windows are placed more finely: the picture itself and its twins may be among them."""
ROUNDS = 3
"""Of placing more finely, each with half the step."""
NUM_TOGETHER = 4
"""Pictures whose windows are computed at once: as many as a core's cache holds."""
FLAT = 1e-4
"""Length of a ring below which a picture has nothing of this frequency: below the rounding of 8 bits."""


def lightness(picture: Image.Image) -> Vector:
    """(4096,) Lightness of the picture on a square, 0…255."""
    grey = pad_to_square(picture).convert("L").resize((EDGE, EDGE), Image.Resampling.BOX)
    return np.asarray(grey, dtype=np.float32).ravel()


def same_place_likeness(ones_SD: Floats, others_ND: Floats) -> Floats:
    """As `likeness` without shift and crop, (S, N): fast."""
    ones, others = (_views(some.reshape(-1, EDGE, EDGE), _cosines(0, 1)) for some in (ones_SD, others_ND))
    return np.maximum(ones @ others.T, (ones * _rings().signs) @ others.T)


def likeness(ones_SD: Floats, others_ND: Floats) -> Floats:
    """Correlation of each with each at the best window, (S, N), −1…1. The windows are in the others.

    So one of the first may be a part of one of the others, not the other way round.
    """
    ones, others = (some.reshape(-1, EDGE, EDGE) for some in (ones_SD, others_ND))
    seen = _views(ones, _cosines(MARGIN, 1 - MARGIN))
    both = np.concatenate([seen, seen * _rings().signs])  # each as it is, then each mirrored
    found, windows = _searched(both, others)
    mirrored = found[len(ones) :] > found[: len(ones)]
    best = np.maximum(found[: len(ones)], found[len(ones) :])
    for start in range(0, len(ones), NUM_TOGETHER):
        part = slice(start, start + NUM_TOGETHER)
        nearest = np.argsort(-best[part], axis=1)[:, :NUM_REFINED]
        rows = np.repeat(np.arange(len(ones))[part], nearest.shape[1])
        pairs = rows, nearest.ravel()
        wanted = rows + len(ones) * mirrored[pairs]
        refined = _refined(both[wanted], others[pairs[1]], _search_windows()[windows[wanted, pairs[1]]])
        best[pairs] = np.maximum(best[pairs], refined)
    return best


def _searched(seen_SD: Floats, others: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """The best of all windows for each pair and its position in `_search_windows`, (S, N) both."""
    best = np.full((len(others), len(seen_SD)), -np.inf, dtype=np.float32)
    window = np.zeros(best.shape, dtype=np.intp)
    for start in range(0, len(others), NUM_TOGETHER):
        part, num_before = slice(start, start + NUM_TOGETHER), 0
        pictures = others[part]
        for cosines in _search_cosines():
            count, lines = len(cosines), cosines.reshape(-1, EDGE)
            looks = (lines @ pictures @ lines.T).reshape(-1, count, NUM_FREQUENCIES, count, NUM_FREQUENCIES)
            views = _unit(looks.swapaxes(2, 3).reshape(len(pictures), count * count, -1))
            found = (views.reshape(-1, views.shape[-1]) @ seen_SD.T).reshape(len(pictures), count * count, -1)
            highest = found.argmax(axis=1)
            values = np.take_along_axis(found, highest[:, None], axis=1)[:, 0]
            better = values > best[part]
            np.copyto(best[part], values, where=better)
            np.copyto(window[part], highest + num_before, where=better)
            num_before += count * count
    return best.T, window.T


def _refined(wanted_PD: Floats, others: Floats, windows_P3: NDArray[np.float64]) -> Floats:
    """(P,) The likeness of each pair after moving and resizing its window in ever smaller steps."""
    top, left, side = windows_P3.T
    step, moves, pairs = STEP / 2, np.array([-1, 0, 1]), np.arange(len(wanted_PD))
    best = np.full(len(wanted_PD), -np.inf, dtype=np.float32)
    for _ in range(ROUNDS):
        sides = np.minimum(side[:, None] + 2 * step * moves, 1)
        down, across = (
            _windows((place[:, None] + step * moves)[:, None], sides[..., None]) for place in (top, left)
        )  # (P, 3 sides, 3 places, F, EDGE)
        looks = (down @ others[:, None, None])[:, :, :, None] @ across[:, :, None].swapaxes(-1, -2)
        found = (_unit(looks.reshape(len(pairs), 27, -1)) @ wanted_PD[..., None])[..., 0]
        highest = found.argmax(axis=1)
        best = found[pairs, highest]
        resized, y, x = np.unravel_index(highest, (3, 3, 3))
        top, left, side = top + step * moves[y], left + step * moves[x], sides[pairs, resized]
        step /= 2
    return best


def _places(zoom: float) -> tuple[NDArray[np.float64], float]:
    """(middles of the windows of a zoom along one edge, their side), shares of the edge."""
    side = zoom * (1 - 2 * MARGIN)
    furthest = int(min((1 - zoom) / 2 + SHIFT, (1 - side) / 2) / STEP + 1e-6)
    return 0.5 + STEP * np.arange(-furthest, furthest + 1, dtype=np.float64), side


@cache
def _search_cosines() -> tuple[Floats, ...]:
    """For each zoom, the cosines of its windows along one edge, (places, F, EDGE)."""
    return tuple(_windows(places, np.full(len(places), side)) for places, side in map(_places, ZOOMS))


@cache
def _search_windows() -> NDArray[np.float64]:
    """(W, 3): the middle of each window from the top and from the left, and its side; zoom by zoom, row by row."""
    return np.array(
        [(top, left, side) for places, side in map(_places, ZOOMS) for top in places for left in places], dtype=float
    )


def _windows(middles: Any, sides: Any) -> Floats:
    return _cosines(np.maximum(middles - sides / 2, 0), np.minimum(middles + sides / 2, 1))


def _cosines(starts: Any, ends: Any) -> Floats:
    """Take EDGE pixels to the cosines of the part between two places, 0…1: (…, F, EDGE)."""
    starts, ends = (np.asarray(places, dtype=float)[..., None, None] for places in (starts, ends))
    edges = np.arange(EDGE + 1) / EDGE
    covered = np.clip(np.minimum(edges[1:], ends) - np.maximum(edges[:-1], starts), 0, None)
    middles = (edges[1:] + edges[:-1]) / 2 - starts
    waves = np.cos(np.pi * np.arange(NUM_FREQUENCIES)[:, None] * middles / (ends - starts))
    return (covered * waves).astype(np.float32)


def _views(pictures: Floats, cosines: Floats) -> Floats:
    return _unit((cosines @ pictures @ cosines.T).reshape(len(pictures), -1))


class _Rings:
    """Which cosines are of one frequency: each ring holds those between two whole frequencies."""

    def __init__(self) -> None:
        down, across = np.indices((NUM_FREQUENCIES, NUM_FREQUENCIES))
        frequency = np.hypot(down, across).ravel()
        ring = np.where((frequency > 0) & (frequency < NUM_FREQUENCIES), np.floor(frequency + 0.5), -1)
        numbers, counts = np.unique(ring[ring >= 0], return_counts=True)
        self.members = (ring == numbers[:, None]).astype(np.float32)
        """(R, F · F) 1 where the cosine is in the ring; the mean and the corners are in none."""
        self.lengths = np.sqrt(counts / counts.sum()).astype(np.float32)
        """Of each ring in a view: the more cosines it has, the more it says."""
        self.signs = np.where(across.ravel() % 2, -1, 1).astype(np.float32)
        """What mirroring does to each cosine."""


@cache
def _rings() -> _Rings:
    return _Rings()


def _unit(cosines: Any) -> Floats:
    """(…, F · F) → unit vectors whose rings have the same lengths in every picture; about 0 for a flat one."""
    rings = _rings()
    lengths = np.sqrt((cosines * cosines) @ rings.members.T)
    return cosines * ((rings.lengths / np.maximum(lengths, FLAT)) @ rings.members)
