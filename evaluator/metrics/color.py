"""`color_loss`: is the cloth the same colour? Only the cloth: a wall painted over costs nothing."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from evaluator.metrics.features import Features
from evaluator.metrics.palette import Palette, palette_distance


def color_loss(
    references: Sequence[Image.Image], samples: Sequence[Image.Image], prompts: Sequence[str], features: Features
) -> list[dict[str, float | None]]:
    """Earth mover's distance between the garments' palettes. The prompts are not looked at.

    `color_de00`: in CIEDE2000 units, ≥ 0; about 1 is the least a trained eye sees side by side.
    `color_loss`: the same over 100, at most 1.
    `mask_fallback`: 1 when in either picture no garment was found and a centre window was compared, else 0.
    """
    pairs = zip(features.palette(references), features.palette(samples), strict=True)
    return [_compare(reference, sample) for reference, sample in pairs]


def _compare(reference: Palette, sample: Palette) -> dict[str, float | None]:
    distance = palette_distance(reference, sample)
    return {
        "color_loss": min(distance, 100.0) / 100,
        "color_de00": distance,
        "mask_fallback": float(reference.is_fallback or sample.is_fallback),
    }
