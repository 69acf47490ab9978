"""`python -m examples.kanji.reading RUN`: how many drawn glyphs are read, by snapshot, beside chance and real ones.

Trained and held-out characters are counted by themselves: the meaning of a character that nothing learns from says
little of its shape.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from rich.console import Console
from rich.table import Table

from examples.kanji import dictionary, glyphs, packages
from examples.kanji.packages import Source
from pocket.training.vae import reconstruct
from shared.errors import ConfigError, exit_code_of
from shared.run_folder.run_dir import RunDir, open_run, steps_in
from shared.statistics.proportion import share_interval
from tasks.text_to_image.encoders import glyph_bank
from tasks.text_to_image.encoders.glyph_bank import GlyphBank
from tasks.text_to_image.metrics.glyphs import NEAR

NUM_REAL = 500
"""Real glyphs that are read of each font."""
SHOWN = (12, 4)
"""Glyphs on a sheet: of trained characters, of held-out characters."""


@dataclass(frozen=True)
class Read:
    """Of `count` glyphs, `own` are read as their own character and `near` have it among the nearest."""

    count: int
    own: int
    near: int

    @classmethod
    def of(cls, readings: Sequence[tuple[bool, bool]]) -> Read:
        """From (read, nearly read) of each glyph."""
        return cls(len(readings), sum(own for own, _ in readings), sum(near for _, near in readings))

    def cells(self) -> tuple[str, str, str]:
        """Glyphs, the share that is read with its 95 % interval, the share that is nearly read."""
        low, high = share_interval(self.own, self.count)
        return (
            str(self.count),
            f"{self.own / self.count:.1%} ({low:.1%} to {high:.1%})",
            f"{self.near / self.count:.1%}",
        )


def of_snapshots(run: RunDir) -> dict[tuple[int, str], Read]:
    """By step and kind of character."""
    inventory = run.read_inventory()
    trained = {pair.caption.strip().lower() for pair in inventory.pairs} if inventory else set[str]()
    readings: dict[tuple[int, str], list[tuple[bool, bool]]] = {}
    for step in sorted(steps_in(run.evaluations)):
        result = run.read_result(step)
        for sample in result.samples if result else ():
            kind = "trained" if sample.prompt.strip().lower() in trained else "held out"
            if sample.metrics.get("glyph_loss") is not None:
                own, near = bool(sample.metrics["glyph_top1"]), bool(sample.metrics["glyph_top10"])
                readings.setdefault((step, kind), []).append((own, near))
    return {key: Read.of(found) for key, found in readings.items()}


def of_real_glyphs(bank: GlyphBank, font: Source, vae: AutoencoderKL | None = None) -> Read:
    """What the comparison can read at all, with `vae` after its round trip."""
    kanji = dictionary.read(packages.DICTIONARY.path)[:NUM_REAL]
    pictures = [glyphs.draw(one.character, font.path) for one in kanji]
    if vae:
        drawn_BHW = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
        seen_BCHW = reconstruct(vae, drawn_BHW.unsqueeze(1).expand(-1, 3, -1, -1))
        pictures = [Image.fromarray(seen_HW.numpy()) for seen_HW in seen_BCHW.float().mean(dim=1).to(torch.uint8)]
    ranks = [bank.rank(picture, one.meaning) for picture, one in zip(pictures, kanji, strict=True)]
    return Read.of([(rank == 0, rank is not None and rank < NEAR) for rank in ranks])


def sheet_of(run: RunDir, bank: GlyphBank) -> Image.Image:
    """Real glyphs above, of the first training font, then those of each snapshot: of trained, then of held-out ones."""
    font = packages.TRAINED[0]
    results = {step: result for step in sorted(steps_in(run.evaluations)) if (result := run.read_result(step))}
    samples = next(iter(results.values())).samples
    own = [number for number, one in enumerate(samples) if one.prompt_id.startswith(run.prompts.name)]
    chosen = [*own[: SHOWN[0]], *own[-SHOWN[1] :]]
    rows = [
        [glyphs.draw(bank.characters[bank.numbers[samples[one].prompt.strip().lower()]], font.path) for one in chosen]
    ]
    for step, result in results.items():
        images = run.evaluation(step) / "images"
        rows.append([Image.open(images / result.samples[one].image).convert("L") for one in chosen])
    edge = glyphs.SIZE
    sheet = Image.new("L", (len(chosen) * edge, len(rows) * edge), 255)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (column * edge, row * edge))
    return sheet


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m examples.kanji.reading", description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder, such as runs/kanji")
    parser.add_argument(
        "--sheet", type=Path, help="write a picture of some glyphs, a row for each snapshot, to this file"
    )
    options = parser.parse_args()
    run = open_run(options.run)
    config = run.read_config()
    place = config.evaluation.glyphs
    if place is None:
        raise ConfigError(f"{run.path} has no glyphs to compare with", "give a run that has evaluation.glyphs")
    bank = glyph_bank.load(place)
    table = Table("glyphs", "of", "read (95 %)", f"among the {NEAR} nearest")
    for (step, kind), read in of_snapshots(run).items():
        table.add_row(f"step {step}, {kind}", *read.cells())
    vae = AutoencoderKL.from_pretrained(Path(config.model.path) / "vae")
    for font in packages.HELD_OUT:
        if font.path.is_file():
            table.add_row(f"real, {font.name}", *of_real_glyphs(bank, font).cells())
            table.add_row(f"real, {font.name}, through the VAE", *of_real_glyphs(bank, font, vae).cells())
    chance = 1 / len(bank.characters)
    table.add_row("chance", "", f"{chance:.2%}", f"{NEAR * chance:.2%}")
    Console().print(table)
    if options.sheet:
        sheet_of(run, bank).save(options.sheet, lossless=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
