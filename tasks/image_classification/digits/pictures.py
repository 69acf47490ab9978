"""The digits as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

FILE = Path(__file__).with_name("digits.csv.gz")
SIDE, DARKEST = 8, 16
"""Of a picture: pixels, and the highest number of one."""


def write(folder: Path) -> None:
    """A folder for each digit, its pictures as PNG, black on white."""
    rows = np.loadtxt(FILE, delimiter=",", dtype=np.int64)
    for number, row in enumerate(rows):
        ink = row[: SIDE * SIDE].reshape(SIDE, SIDE)
        picture = Image.fromarray((255 - ink * 255 // DARKEST).astype(np.uint8))
        place = folder / str(row[-1])
        place.mkdir(parents=True, exist_ok=True)
        picture.save(place / f"{number:04d}.png")
