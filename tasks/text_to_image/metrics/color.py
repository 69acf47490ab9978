"""`color_loss`: is the cloth the same colour? Only the cloth: a wall painted over costs nothing."""

from __future__ import annotations

from tasks.text_to_image.metrics.features import Features
from tasks.text_to_image.metrics.metric_input import MetricInput, Row
from tasks.text_to_image.metrics.palette import Palette, palette_distance


def color_loss(metric_input: MetricInput, features: Features) -> list[Row]:
    """Earth mover's distance between the garments' palettes.

    `color_de00`: in CIEDE2000 units, ≥ 0; about 1 is the least a trained eye sees side by side.
    `color_loss`: the same over 100, at most 1.
    `mask_fallback`: 1 when in either picture no garment was found and a centre window was compared, else 0.
    """
    pairs = zip(features.palette(metric_input.references), features.palette(metric_input.samples), strict=True)
    return [_compare(reference, sample) for reference, sample in pairs]


def _compare(reference: Palette, sample: Palette) -> Row:
    distance = palette_distance(reference, sample)
    return {
        "color_loss": min(distance, 100.0) / 100,
        "color_de00": distance,
        "mask_fallback": float(reference.is_fallback or sample.is_fallback),
    }
