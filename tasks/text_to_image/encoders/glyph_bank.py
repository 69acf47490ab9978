"""Every character of a set, drawn in several fonts, to be compared with: `evaluation.glyphs`.

The folder holds `glyphs.json` and a sheet of tiles for each font, as examples/kanji writes them. A prompt belongs to
the character whose meaning it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ModelError
from tasks.text_to_image.descriptors import strokes
from tasks.text_to_image.encoders.encoder import EncoderRecord

Array = NDArray[np.float32]

DESCRIPTION = "glyphs.json"
CURE = "give the folder `glyphs` that `python -m examples.kanji` writes, in evaluation.glyphs"


@dataclass(frozen=True)
class GlyphBank:
    """Shapes: F fonts, N characters, D numbers of a description."""

    characters: tuple[str, ...]
    numbers: dict[str, int]
    """Meaning, in lower case → the number of its character."""
    described: Array
    """(F, N, D)."""
    record: EncoderRecord

    def likeness(self, picture: Image.Image) -> Array:
        """Cosine to each character in the font that is most like it, 0…1. (N,)."""
        return np.asarray((self.described @ strokes.describe(picture)).max(axis=0), dtype=np.float32)

    def rank(self, picture: Image.Image, meaning: str) -> int | None:
        """How many characters are more like the picture than the one of this meaning; None: no character has it.

        One that is as like as its own counts for half: a flat picture ranks in the middle.
        """
        own = self.numbers.get(meaning.strip().lower())
        if own is None:
            return None
        likeness_N = self.likeness(picture)
        ahead = int((likeness_N > likeness_N[own]).sum())
        return ahead + int((likeness_N == likeness_N[own]).sum() - 1) // 2


def load(place: str) -> GlyphBank:
    """Read a folder, and describe every tile: some seconds for thousands.

    Raises:
        ModelError: it is no such folder, or a sheet is missing or too small.
    """
    folder = Path(place)
    try:
        told: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        size, columns, meanings = int(told["size"]), int(told["columns"]), dict(told["meanings"])
        sheets = [_sheet(folder / str(name)) for name in told["sheets"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"evaluation.glyphs {place} cannot be read: {error}", CURE) from None
    rows = -(-len(meanings) // columns)
    if not sheets or not meanings or any(sheet.size != (columns * size, rows * size) for sheet in sheets):
        raise ModelError(f"evaluation.glyphs {place}: the sheets do not have the tiles of {DESCRIPTION}", CURE)
    described = [
        [strokes.describe(_tile(sheet, number, size, columns)) for number in range(len(meanings))] for sheet in sheets
    ]
    numbers = {meaning.strip().lower(): number for number, meaning in enumerate(meanings.values())}
    record = EncoderRecord(model="strokes", revision=strokes.REVISION)
    return GlyphBank(tuple(meanings), numbers, np.asarray(described, dtype=np.float32), record)


def _sheet(path: Path) -> Image.Image:
    with Image.open(path) as sheet:
        return sheet.convert("L")


def _tile(sheet: Image.Image, number: int, size: int, columns: int) -> Image.Image:
    left, top = number % columns * size, number // columns * size
    return sheet.crop((left, top, left + size, top + size))
