"""The outlines of the pocket garments, as data.

Every garment lives in a frame of one unit: x and y run from -0.5 to 0.5, y grows downwards, the vertical axis is x = 0.
Only the right half of an outline is written down; `Silhouette.polygon` mirrors it and rounds the corners.
This file knows no colours and draws nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(N, 2) x and y in the garment's frame."""


@dataclass(frozen=True)
class Silhouette:
    """One kind of garment: half an outline, the seams drawn on it, and the openings one sees into.

    `half` runs from the top of the axis to its bottom through the right half. `seams` are polylines, mirrored too
    unless they lie on the axis. `openings` are right halves of darker areas (the inside of a hood).
    """

    half: tuple[tuple[float, float], ...]
    seams: tuple[tuple[tuple[float, float], ...], ...] = ()
    openings: tuple[tuple[tuple[float, float], ...], ...] = ()

    def polygon(self, jitter: Points | float = 0.0) -> Points:
        """The closed outline (N, 2). `jitter`: offsets in frame units, broadcast over the half outline."""
        return _rounded(_mirrored(np.asarray(self.half) + jitter))

    def seam_lines(self) -> list[Points]:
        """All seams, right and left."""
        rights = [np.asarray(seam) for seam in self.seams]
        return rights + [right * (-1.0, 1.0) for right in rights if np.any(right[:, 0] != 0.0)]

    def opening_polygons(self) -> list[Points]:
        """All openings as closed polygons."""
        return [_rounded(_mirrored(np.asarray(opening))) for opening in self.openings]


def _mirrored(half: Points) -> Points:
    return np.concatenate([half, half[::-1] * (-1.0, 1.0)])


def _rounded(polygon: Points, num_rounds: int = 2, cut: float = 0.12) -> Points:
    """Chaikin's corner cutting: each corner becomes two points, `cut` of an edge away from it."""
    for _ in range(num_rounds):
        following = np.roll(polygon, -1, axis=0)
        near, far = polygon + cut * (following - polygon), following + cut * (polygon - following)
        polygon = np.stack([near, far], axis=1).reshape(-1, 2)
    return polygon


SILHOUETTES: dict[str, Silhouette] = {
    "dress": Silhouette(
        half=(
            (0, -0.33),
            (0.06, -0.36),
            (0.08, -0.47),
            (0.13, -0.47),
            (0.15, -0.31),
            (0.115, -0.09),
            (0.33, 0.45),
            (0, 0.48),
        ),
        seams=(((0, -0.075), (0.115, -0.085)),),
    ),
    "t-shirt": Silhouette(
        half=(
            (0, -0.29),
            (0.09, -0.36),
            (0.21, -0.32),
            (0.43, -0.11),
            (0.34, 0.0),
            (0.225, -0.1),
            (0.23, 0.36),
            (0, 0.37),
        ),
        seams=(((0.21, -0.31), (0.225, -0.1)), ((0, -0.255), (0.06, -0.28), (0.105, -0.345))),
    ),
    "trousers": Silhouette(
        half=((0, -0.46), (0.165, -0.46), (0.2, -0.22), (0.215, 0.47), (0.075, 0.47), (0.02, -0.12), (0, -0.12)),
        seams=(((0, -0.41), (0.17, -0.41)), ((0, -0.46), (0, -0.14)), ((0.11, -0.41), (0.185, -0.32))),
    ),
    "skirt": Silhouette(
        half=((0, -0.25), (0.15, -0.25), (0.4, 0.27), (0.2, 0.33), (0, 0.34)),
        seams=(((0, -0.2), (0.17, -0.2)),),
    ),
    "coat": Silhouette(
        half=(
            *((0, -0.4), (0.08, -0.47), (0.2, -0.41), (0.26, -0.3), (0.38, 0.1), (0.28, 0.14), (0.205, -0.12)),
            *((0.19, 0.0), (0.27, 0.46), (0, 0.47)),
        ),
        seams=(
            *(((0, -0.12), (0, 0.47)), ((0.08, -0.46), (0.1, -0.3), (0, -0.12)), ((0.19, -0.39), (0.205, -0.12))),
            *(((0.09, 0.12), (0.19, 0.09)), ((0, 0.0), (0.19, 0.0))),
        ),
        openings=(((0, -0.44), (0.06, -0.44), (0.01, -0.22)),),
    ),
    "hoodie": Silhouette(
        half=(
            *((0, -0.46), (0.1, -0.45), (0.145, -0.36), (0.13, -0.27), (0.24, -0.22), (0.43, 0.2), (0.33, 0.26)),
            *((0.225, 0.02), (0.22, 0.35), (0, 0.36)),
        ),
        seams=(
            *(((0.1, 0.31), (0.13, 0.12), (0, 0.12)), ((0, 0.31), (0.22, 0.31)), ((0.04, -0.2), (0.05, -0.06))),
            *(((0.345, 0.21), (0.405, 0.15)),),
        ),
        openings=(((0, -0.41), (0.07, -0.39), (0.085, -0.3), (0, -0.22)),),
    ),
    "shorts": Silhouette(
        half=((0, -0.24), (0.2, -0.24), (0.31, 0.2), (0.07, 0.24), (0.02, 0.04), (0, 0.04)),
        seams=(((0, -0.185), (0.215, -0.185)), ((0, -0.24), (0, 0.03)), ((0.15, -0.185), (0.235, -0.08))),
    ),
    "vest": Silhouette(
        half=(
            (0, -0.2),
            (0.07, -0.27),
            (0.085, -0.42),
            (0.14, -0.42),
            (0.145, -0.24),
            (0.215, -0.13),
            (0.205, 0.34),
            (0, 0.35),
        ),
        seams=(((0, 0.315), (0.205, 0.305)),),
    ),
    "kimono": Silhouette(
        half=(
            *((0, -0.38), (0.06, -0.43), (0.18, -0.42), (0.44, -0.37), (0.45, 0.1), (0.24, 0.07), (0.23, -0.06)),
            *((0.19, 0.0), (0.24, 0.46), (0, 0.47)),
        ),
        seams=(((0.22, -0.41), (0.23, -0.06)), ((0.08, 0.16), (0.1, 0.46))),
    ),
}
"""Every silhouette that can be drawn; the kimono is the demo's concept and no part of the catalogue."""

KIMONO_COLLAR: Points = np.array([(-0.07, -0.43), (-0.01, -0.43), (0.12, -0.02), (0.06, -0.02)])
"""The band that crosses over, drawn once as it is and before that mirrored."""

KIMONO_OBI: Points = np.array([(-0.21, -0.05), (0.21, -0.05), (0.2, 0.1), (-0.2, 0.1)])
"""The sash, as wide as the waist."""

KIMONO_CORD: Points = np.array([(-0.21, 0.012), (0.21, 0.012), (0.21, 0.038), (-0.21, 0.038)])
"""The cord around the sash."""
