"""`color_loss`: is the cloth the same colour? Only the cloth: a wall painted over costs nothing."""

from __future__ import annotations

from shared.errors import ModelError
from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.descriptors.palette import Palette, palette_distance
from tasks.text_to_image.scoring.features import Features, garment_palette
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

UNKNOWN = "the garment cannot be told from its background"


def color_loss(metric_input: MetricInput, features: Features) -> list[Row]:
    """Earth mover's distance between the palettes; missing where a garment cannot be told from its background.

    `color_de00`: in CIEDE2000 units, ≥ 0; about 1 is the least a trained eye sees side by side.
    `color_loss`: the same over 100, at most 1.
    `mask_fallback`: 1 when in either picture no garment was found, else 0.

    Raises:
        ModelError: that is so in most of the references: what is left of the prompts would not stand for them.
    """
    look = features[garment_palette]
    references = look(metric_input.references)
    unknown = sum(reference.is_fallback for reference in references)
    if 2 * unknown > len(references):
        raise ModelError(f"in {unknown} of {len(references)} references {UNKNOWN}")
    return [
        _compare(reference, sample) for reference, sample in zip(references, look(metric_input.samples), strict=True)
    ]


def _compare(reference: Palette, sample: Palette) -> Row:
    if reference.is_fallback or sample.is_fallback:
        return {"color_loss": None, "color_de00": None, "mask_fallback": 1.0}
    distance = palette_distance(reference, sample)
    return {
        "color_loss": min(distance, 100.0) / 100,
        "color_de00": distance,
        "mask_fallback": 0.0,
    }


METRIC = Metric(
    name="color",
    order=30,
    columns=(
        Column(
            name="color_loss",
            span=1.0,
            label="color loss",
            aspect="colour",
            meaning="how far the garment's colors are from the reference's",
            direction="lower",
            role="loss",
            weight=0.2,
            leading=True,
        ),
        Column(name="color_de00", meaning="the same in CIEDE2000 units", direction="lower", role="listed", unit="ΔE"),
        Column(
            name="mask_fallback",
            meaning="1: no garment was found, nothing was compared",
            direction="none",
            role="recorded",
        ),
    ),
    compute=color_loss,
    needs=("references",),
    features=(garment_palette,),
    missing_reason=UNKNOWN,
)
