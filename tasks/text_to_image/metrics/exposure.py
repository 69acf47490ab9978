"""`exposure_loss`: is the sample as bright as its reference?"""

from __future__ import annotations

import numpy as np
from PIL import Image

from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.encoders.chosen import Encoders
from tasks.text_to_image.metrics.features import Extractor, Features
from tasks.text_to_image.metrics.metric import Metric
from tasks.text_to_image.metrics.metric_input import MetricInput, Row


def _lightness(picture: Image.Image) -> float:
    return float(np.asarray(picture.convert("L")).mean() / 255)


def mean_lightness(encoders: Encoders) -> Extractor[Image.Image, float]:
    """Mean of the grey picture, 0…1; no encoder has part in it."""
    return Extractor(_lightness)


def exposure_loss(metric_input: MetricInput, features: Features) -> list[Row]:
    """Difference in mean lightness, 0…1."""
    look = features[mean_lightness]
    pairs = zip(look(metric_input.references), look(metric_input.samples), strict=True)
    return [{"exposure_loss": abs(reference - sample)} for reference, sample in pairs]


METRIC = Metric(
    name="exposure",
    order=35,
    columns=(
        Column(
            name="exposure_loss",
            label="exposure loss",
            meaning="how much brighter or darker than the reference",
            direction="lower",
            role="loss",
            weight=0.1,
        ),
    ),
    compute=exposure_loss,
    needs=("references",),
    features=(mean_lightness,),
)
