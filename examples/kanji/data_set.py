"""What the demo needs, in one folder.

```
pictures/<font>/<code point>.png, .txt   glyphs of the training fonts, captions are the English meanings
base/                                    the base model, see `base`
glyphs/                                  every character in every training font, for the metric: see `write_sheets`
prompts.txt                              meanings to draw: of trained characters, then of held-out ones
LICENCES.txt
```
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from examples.kanji import base, dictionary, glyphs, packages, text_tower, vae
from examples.kanji.dictionary import Kanji
from examples.kanji.packages import Source

NUM_HELD_OUT = 100
"""Characters that nothing learns from."""
NUM_PROMPTS = (48, 16)
"""Meanings to draw: of trained characters, of held-out characters."""
COLUMNS = 64


def write(folder: Path, pictures: str = "pictures") -> None:
    """Fill a new folder.

    Raises:
        DataError: a package is missing.
    """
    packages.require((packages.DICTIONARY, *packages.TRAINED))
    kanji = dictionary.read(packages.DICTIONARY.path)
    away = set(random.Random("held out").sample(range(len(kanji)), NUM_HELD_OUT))
    trained = [one for number, one in enumerate(kanji) if number not in away]
    held_out = [one for number, one in enumerate(kanji) if number in away]
    folder.mkdir(parents=True)
    for font in packages.TRAINED:
        _write_pictures(folder / pictures / font.name, trained, font)
    write_sheets(folder / "glyphs", kanji, packages.TRAINED)
    tokenizer = text_tower.tokenizer_of([one.meaning for one in trained])
    drawn_FNHW = torch.stack([_drawn(trained, font) for font in packages.TRAINED])
    mean_NHW = drawn_FNHW.float().mean(dim=0) / 255
    tower = text_tower.train(tokenizer, [one.meaning for one in trained], mean_NHW)
    base.write(folder / "base", vae.train(drawn_FNHW.flatten(0, 1)), tower, tokenizer)
    draw = random.Random("prompts")
    chosen = [*draw.sample(trained, NUM_PROMPTS[0]), *draw.sample(held_out, NUM_PROMPTS[1])]
    (folder / "prompts.txt").write_text("".join(f"{one.meaning}\n" for one in chosen), encoding="utf-8")
    sources = (packages.DICTIONARY, *packages.TRAINED)
    licences = "".join(f"{source.name} ({source.package}): {source.licence}\n" for source in sources)
    (folder / "LICENCES.txt").write_text(licences, encoding="utf-8")


def write_sheets(folder: Path, kanji: Sequence[Kanji], fonts: Sequence[Source]) -> None:
    """A sheet of tiles for each font, row by row, and `glyphs.json`, which names tile and meaning of each character."""
    folder.mkdir()
    rows = -(-len(kanji) // COLUMNS)
    for font in fonts:
        sheet = Image.new("L", (COLUMNS * glyphs.SIZE, rows * glyphs.SIZE), 255)
        for number, one in enumerate(kanji):
            place = (number % COLUMNS * glyphs.SIZE, number // COLUMNS * glyphs.SIZE)
            sheet.paste(glyphs.draw(one.character, font.path), place)
        sheet.save(folder / f"{font.name}.png")
    described = {
        "schema": "1.0",
        "size": glyphs.SIZE,
        "columns": COLUMNS,
        "sheets": [f"{font.name}.png" for font in fonts],
        "meanings": {one.character: one.meaning for one in kanji},
    }
    (folder / "glyphs.json").write_text(json.dumps(described, indent=1, ensure_ascii=False), encoding="utf-8")


def _write_pictures(folder: Path, kanji: Sequence[Kanji], font: Source) -> None:
    folder.mkdir(parents=True)
    for one in kanji:
        stem = f"{ord(one.character):05x}"
        glyphs.draw(one.character, font.path).save(folder / f"{stem}.png")
        (folder / f"{stem}.txt").write_text(one.meaning, encoding="utf-8")


def _drawn(kanji: Sequence[Kanji], font: Source) -> torch.Tensor:
    """(N, 64, 64), uint8."""
    return torch.from_numpy(np.stack([np.asarray(glyphs.draw(one.character, font.path)) for one in kanji]))
