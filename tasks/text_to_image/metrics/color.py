"""`color_loss`: is the cloth the same colour? Only the cloth: a wall painted over costs nothing."""

from __future__ import annotations

from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.metrics.features import Features, garment_palette
from tasks.text_to_image.metrics.metric import Metric
from tasks.text_to_image.metrics.metric_input import MetricInput, Row
from tasks.text_to_image.metrics.palette import Palette, palette_distance


def color_loss(metric_input: MetricInput, features: Features) -> list[Row]:
    """Earth mover's distance between the garments' palettes.

    `color_de00`: in CIEDE2000 units, ≥ 0; about 1 is the least a trained eye sees side by side.
    `color_loss`: the same over 100, at most 1.
    `mask_fallback`: 1 when in either picture no garment was found and a centre window was compared, else 0.
    """
    look = features[garment_palette]
    pairs = zip(look(metric_input.references), look(metric_input.samples), strict=True)
    return [_compare(reference, sample) for reference, sample in pairs]


def _compare(reference: Palette, sample: Palette) -> Row:
    distance = palette_distance(reference, sample)
    return {
        "color_loss": min(distance, 100.0) / 100,
        "color_de00": distance,
        "mask_fallback": float(reference.is_fallback or sample.is_fallback),
    }


METRIC = Metric(
    name="color",
    order=30,
    columns=(
        Column(
            name="color_loss",
            label="color loss",
            meaning="how far the garment's colors are from the reference's",
            direction="lower",
            role="loss",
            weight=0.2,
            leading=True,
        ),
        Column(name="color_de00", meaning="the same in CIEDE2000 units", direction="lower", role="listed", unit="ΔE"),
        Column(
            name="mask_fallback",
            meaning="1: no garment was found, a centre window was compared",
            direction="none",
            role="recorded",
        ),
    ),
    compute=color_loss,
    needs=("references",),
    features=(garment_palette,),
)
