"""The kanji of the demo: what is read of the dictionary, what is missing, and that glyphs fill their tiles."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from examples.kanji import data_set, dictionary, glyphs, packages, text_tower
from examples.kanji.dictionary import Kanji
from shared.errors import DataError

ENTRY = """<character><literal>{}</literal><misc><grade>{}</grade></misc><reading_meaning><rmgroup>
<reading r_type="ja_on">X</reading>{}<meaning m_lang="fr">Est</meaning></rmgroup></reading_meaning></character>"""
INSTALLED = all(source.path.is_file() for source in (packages.DICTIONARY, *packages.TRAINED))


def meanings(*texts: str) -> str:
    return "".join(f"<meaning>{text}</meaning>" for text in texts)


def test_common_characters_with_english_meanings_of_their_own_are_read(tmp_path: Path) -> None:
    entries = [
        ENTRY.format("東", 2, meanings("East")),
        ENTRY.format("計", 2, meanings("plot", "plan", "scheme", "measure")),
        ENTRY.format("亞", 10, meanings("Asia")),  # no jōyō kanji
        ENTRY.format("画", 2, meanings("plot", "plan", "scheme")),  # the meanings of another
        ENTRY.format("々", 8, ""),
    ]
    with gzip.open(tmp_path / "dictionary.gz", "wt", encoding="utf-8") as file:
        file.write(f"<kanjidic2>{''.join(entries)}</kanjidic2>")
    found = dictionary.read(tmp_path / "dictionary.gz")
    assert found == [Kanji("東", "east"), Kanji("計", "plot, plan, scheme")]


def test_missing_packages_are_named_with_the_command_that_installs_them(tmp_path: Path) -> None:
    absent = [
        packages.Source("one", "fonts-one", tmp_path / "one.ttf", "free"),
        packages.Source("two", "fonts-one", tmp_path / "two.ttf", "free"),
        packages.Source("three", "fonts-three", tmp_path / "three.ttf", "free"),
    ]
    with pytest.raises(DataError, match=r"(?s)one\.ttf of fonts-one.*two\.ttf.*three\.ttf of fonts-three") as refused:
        packages.require(absent)
    assert refused.value.hint == "apt-get install fonts-one fonts-three"


def test_the_tower_learns_the_shapes_of_its_meanings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_tower, "NUM_STEPS", 60)
    monkeypatch.setattr(text_tower, "BATCH_SIZE", 16)
    losses: list[float] = []

    def watched(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        loss = (one - other).square().mean()
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(text_tower.F, "mse_loss", watched)
    words = [f"{one} {two}" for one in ("red", "blue", "old", "new") for two in ("tree", "sun", "dog", "sea")]
    shapes_NHW = torch.rand(len(words), 64, 64, generator=torch.Generator().manual_seed(0))
    tokenizer = text_tower.tokenizer_of(words)
    towers = [text_tower.train(tokenizer, words, shapes_NHW, seed) for seed in (0, 0)]
    ids_NL = text_tower.tokenise(tokenizer, words)
    with torch.no_grad():
        read_NC, again_NC = (tower(ids_NL).pooler_output for tower in towers)
    assert torch.equal(read_NC, again_NC)
    assert text_tower.components(shapes_NHW).shape == (len(words), len(words))
    assert max(losses[59], losses[-1]) < 0.2 * losses[0]


@pytest.mark.skipif(not INSTALLED, reason="Debian's kanjidic-xml and fonts are not installed")
def test_real_glyphs_are_drawn_whole_and_lie_on_their_tiles(tmp_path: Path) -> None:
    kanji = dictionary.read(packages.DICTIONARY.path)
    assert len(kanji) > 2000
    assert len({one.meaning for one in kanji}) == len(kanji)
    data_set.write_sheets(tmp_path / "glyphs", kanji[:70], packages.TRAINED[:1])
    told = json.loads((tmp_path / "glyphs" / "glyphs.json").read_text(encoding="utf-8"))
    assert list(told["meanings"]) == [one.character for one in kanji[:70]]
    with Image.open(tmp_path / "glyphs" / told["sheets"][0]) as sheet:
        tile = sheet.crop((5 * 64, 64, 6 * 64, 128))  # the second row of 64
    glyph = np.asarray(glyphs.draw(kanji[69].character, packages.TRAINED[0].path))
    assert np.array_equal(np.asarray(tile), glyph)
    edges = np.concatenate([glyph[0], glyph[-1], glyph[:, 0], glyph[:, -1]])
    assert edges.min() == 255
    assert 0.05 < (glyph < 128).mean() < 0.6
