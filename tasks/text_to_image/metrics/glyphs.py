"""`glyph_loss`: is a drawn glyph read as its own character, among all characters of `evaluation.glyphs`?

Where it is computed no other metric is: garments' metrics and CLIPs know nothing of characters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image

from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.encoders.chosen import Encoders
from tasks.text_to_image.scoring.features import Captioned, Extractor, Features
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

NEAR = 10
"""Characters among which a glyph counts as nearly read."""


def reading(encoders: Encoders) -> Extractor[Captioned, tuple[int | None, int]]:
    """A picture and its prompt → (characters that are more like the picture than its own, characters in all)."""
    bank = encoders.glyphs()

    def read(item: tuple[Image.Image, str]) -> tuple[int | None, int]:
        return bank.rank(*item), len(bank.characters)

    return Extractor(read, bank.record)


def glyphs(metric_input: MetricInput, features: Features) -> Sequence[Row]:
    """How far each sample is from being read as its own character.

    `glyph_loss`: the logarithm of its rank, as a share of that of the last; 0: its own character is the most like it,
    about 0.87 by chance among 2,000. Blank where no character has the prompt as its meaning.
    """
    items = list(zip(metric_input.samples, metric_input.prompts, strict=True))
    return [_row(rank, count) for rank, count in features[reading](items)]


def _row(rank: int | None, count: int) -> Row:
    if rank is None:
        return {"glyph_loss": None, "glyph_top1": None, "glyph_top10": None}
    loss = math.log1p(rank) / math.log(count) if count > 1 else 0.0
    return {"glyph_loss": loss, "glyph_top1": float(rank == 0), "glyph_top10": float(rank < NEAR)}


METRIC = Metric(
    name="glyphs",
    order=38,
    columns=(
        Column(
            name="glyph_loss",
            span=1.0,
            label="glyph loss",
            aspect="being read",
            meaning="0: the glyph is read as its own character; 1: as any other one rather than that",
            direction="lower",
            role="loss",
            weight=1.0,
            everywhere=True,
        ),
        Column(
            name="glyph_top1",
            label="glyphs read",
            meaning="share of glyphs whose own character is the most like them, of all characters",
            direction="higher",
            role="shown",
        ),
        Column(
            name="glyph_top10",
            label="glyphs nearly read",
            meaning="share of glyphs whose own character is among the ten that are most like them",
            direction="higher",
            role="shown",
        ),
    ),
    compute=glyphs,
    needs=("prompts",),
    features=(reading,),
    missing_reason="no character of evaluation.glyphs has this meaning",
    setting="glyphs",
    alone=True,
)
