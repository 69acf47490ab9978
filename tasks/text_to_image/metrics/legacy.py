"""The formulas this project replaces, for comparison only: `docs/metrics.md` shows what they get wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity

from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.scoring.features import Features
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

NUM_BINS = 32


def legacy_losses(metric_input: MetricInput, features: Features) -> list[Row]:
    """`legacy_visual_loss` 1 − SSIM in grey, `legacy_color_loss` 1 − correlation of RGB histograms; each 0…2.

    The first prefers flat grey to a shifted picture, the second weighs a wall's shade above a garment's hue.
    """
    pairs = zip(metric_input.references, metric_input.samples, strict=True)
    return [_compare(reference, sample) for reference, sample in pairs]


def _compare(reference: Image.Image, sample: Image.Image) -> Row:
    one, other = reference.convert("RGB"), sample.convert("RGB").resize(reference.size, Image.Resampling.BICUBIC)
    similarity: Any = structural_similarity(
        np.asarray(one.convert("L")), np.asarray(other.convert("L")), data_range=255
    )
    correlations = [_correlation(a, b) for a, b in zip(_histograms(one), _histograms(other), strict=True)]
    return {
        "legacy_visual_loss": 1 - float(similarity),
        "legacy_color_loss": 1 - float(np.mean(correlations)),
    }


def _histograms(picture: Image.Image) -> NDArray[np.intp]:
    """Counts per channel, (3, 32)."""
    pixels = np.asarray(picture).reshape(-1, 3)
    return np.stack([np.histogram(pixels[:, channel], NUM_BINS, (0, 256))[0] for channel in range(3)])


def _correlation(one: NDArray[np.intp], other: NDArray[np.intp]) -> float:
    return float(np.corrcoef(one, other)[0, 1])


METRIC = Metric(
    name="legacy",
    order=80,
    columns=(
        Column(name="legacy_visual_loss", meaning="1 − SSIM in grey", direction="lower", role="listed"),
        Column(name="legacy_color_loss", meaning="1 − correlation of histograms", direction="lower", role="listed"),
    ),
    compute=legacy_losses,
    needs=("references",),
    by_default=False,
)
