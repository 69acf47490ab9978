"""The kanji of the demo: what is read of the dictionary, what is missing, that tiles are filled, and who reads."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from examples.kanji import data_set, dictionary, glyphs, packages, reading, text_tower, vae
from examples.kanji.dictionary import Kanji
from pocket.training.vae import decode
from shared.errors import DataError
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.run_folder.records.inventory import Inventory, PairRecord
from shared.run_folder.run_dir import RunDir

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


def test_latents_are_principal_components_that_keep_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vae, "NUM_STEPS", 25)
    monkeypatch.setattr(vae, "BATCH_SIZE", 4)
    grid_BHW = torch.randint(0, 2, (12, 4, 4), generator=torch.Generator().manual_seed(0)) * 255
    glyphs_BHW = grid_BHW.repeat_interleave(16, dim=1).repeat_interleave(16, dim=2).to(torch.uint8)
    components = vae.Components.of(vae.floats(glyphs_BHW))
    latents = components.latents(vae.floats(glyphs_BHW))
    assert latents.shape == (12, 16, 8, 8)
    assert latents.square().mean().item() == pytest.approx(1, rel=1e-4)
    of_pixels, of_latents = (
        torch.cdist(each.flatten(1), each.flatten(1)) for each in (vae.floats(glyphs_BHW), latents)
    )
    apart = of_pixels > 0
    shares = of_latents[apart] / of_pixels[apart]  # patches of one grey: one component holds all of them
    assert shares.max().item() == pytest.approx(shares.min().item(), rel=1e-3)
    taught = [decode(vae.train(glyphs_BHW), latents[:1]) for _ in range(2)]
    assert torch.equal(*taught)
    pictures = vae.coloured(vae.floats(glyphs_BHW[:1]))
    untaught = decode(vae.build(), latents[:1])
    assert (taught[0] - pictures).square().mean() < 0.6 * (untaught - pictures).square().mean()


def test_trained_and_held_out_characters_are_counted_by_themselves(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    Inventory(pairs=(PairRecord(id="1", image="", caption="East"),)).write(run.dataset)
    cells = [
        ("east", 0.0, 1.0, 1.0),
        ("EAST", 0.3, 0.0, 1.0),
        ("west", 0.9, 0.0, 0.0),
        ("not a meaning", None, None, None),
    ]
    samples = tuple(
        Sample(
            prompt_id=str(number), prompt=prompt, metrics={"glyph_loss": loss, "glyph_top1": own, "glyph_top10": near}
        )
        for number, (prompt, loss, own, near) in enumerate(cells)
    )
    run.evaluation(250).mkdir(parents=True)
    result = EvaluationResult(run_id="one", step=250, status="ok", snapshot_digest="", samples=samples)
    result.write(run.evaluation(250) / "result.json")
    assert reading.of_snapshots(run) == {
        (250, "trained"): reading.Read(count=2, own=1, near=2),
        (250, "held out"): reading.Read(count=1, own=0, near=0),
    }
    assert reading.Read(count=48, own=40, near=47).cells() == ("48", "83.3% (71.0% to 91.8%)", "97.9%")


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
