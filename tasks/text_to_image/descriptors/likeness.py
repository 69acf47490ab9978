"""How alike two pictures are where one may be softer, shifted, cropped, mirrored, recoloured or encoded again.

A perceptual embedding is made so that two pictures of one kind are near; here they are to be far, and only a picture
and what was made of it near. Both are compared by the cosines of their lightness (a DCT). The cosines of one frequency,
whatever their direction, form a ring; each ring is brought to the same length in both pictures. So softness costs
nothing: it scales a whole ring. The second picture is looked at through windows of many places and sizes, and the best
one counts.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    plain = _Search.over(seen, others)
    turned = _Search.over(seen * _rings().signs, others)
    best = np.maximum(plain.best, turned.best)
    for one, nearest in enumerate(np.argsort(-best, axis=1)[:, :NUM_REFINED]):
        for other in nearest:
            mirrored = turned.best[one, other] > plain.best[one, other]
            wanted, where = (seen[one] * _rings().signs, turned.where) if mirrored else (seen[one], plain.where)
            best[one, other] = max(best[one, other], _refined(wanted, others[other], where[one, other]))
    return best


@dataclass(frozen=True)
class _Search:
    """The best of the windows for each pair."""

    best: Floats
    """(S, N)"""
    where: Floats
    """(S, N, 3): its middle from the top, from the left, and its side; shares of the edge."""

    @classmethod
    def over(cls, seen_SD: Floats, others: Floats) -> _Search:
        best = np.full((len(seen_SD), len(others)), -np.inf, dtype=np.float32)
        where = np.zeros((*best.shape, 3), dtype=np.float32)
        for zoom in ZOOMS:
            side = zoom * (1 - 2 * MARGIN)
            furthest = int(min((1 - zoom) / 2 + SHIFT, (1 - side) / 2) / STEP + 1e-6)
            places = 0.5 + STEP * np.arange(-furthest, furthest + 1)
            cosines = _windows(places, np.full(len(places), side))
            for top, down in zip(places, cosines, strict=True):
                lines = down @ others
                for left, across in zip(places, cosines, strict=True):
                    found = seen_SD @ _unit(lines @ across.T).T
                    better = found > best
                    best[better] = found[better]
                    where[better] = top, left, side
        return cls(best, where)


def _refined(wanted: Floats, other: Floats, where: Floats) -> float:
    """The likeness after moving and resizing the window in ever smaller steps."""
    best, step = -np.inf, STEP / 2
    moves = np.array([-1, 0, 1])
    top, left, side = (float(value) for value in where)
    for _ in range(ROUNDS):
        sides = np.minimum(side + 2 * step * moves, 1)[:, None]
        down, across = (_windows(place + step * moves, sides) for place in (top, left))  # (3 sides, 3 places, F, EDGE)
        views = _unit((down @ other)[:, :, None] @ across[:, None].swapaxes(-1, -2))
        found = views @ wanted
        best = float(found.max())
        resized, y, x = np.unravel_index(int(found.argmax()), found.shape)
        top, left, side = top + step * moves[y], left + step * moves[x], float(sides[resized, 0])
        step /= 2
    return best


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
    return _unit(cosines @ pictures @ cosines.T)


class _Rings:
    """The cosines ordered by frequency: each ring holds those between two whole frequencies."""

    def __init__(self) -> None:
        down, across = np.indices((NUM_FREQUENCIES, NUM_FREQUENCIES))
        frequency = np.hypot(down, across).ravel()
        ring = np.floor(frequency + 0.5).astype(int)
        used = np.flatnonzero((frequency > 0) & (frequency < NUM_FREQUENCIES))
        self.order = used[np.argsort(ring[used], kind="stable")]
        """(D,) The cosines by ring, without the mean."""
        _, self.starts, self.counts = np.unique(ring[self.order], return_index=True, return_counts=True)
        self.lengths = np.sqrt(self.counts / len(self.order)).astype(np.float32)
        """Of each ring in a view: the more cosines it has, the more it says."""
        self.signs = np.where(across.ravel()[self.order] % 2, -1, 1).astype(np.float32)
        """What mirroring does to each."""


@cache
def _rings() -> _Rings:
    return _Rings()


def _unit(cosines: Any) -> Floats:
    """(…, F, F) → unit vectors (…, D) whose rings have the same lengths in every picture; about 0 for a flat one."""
    rings = _rings()
    flat = cosines.reshape(*cosines.shape[:-2], -1)[..., rings.order]
    lengths = np.sqrt(np.add.reduceat(flat * flat, rings.starts, axis=-1))
    return flat * np.repeat(rings.lengths / np.maximum(lengths, FLAT), rings.counts, axis=-1)
