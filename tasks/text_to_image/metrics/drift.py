"""`drift`: how far has the picture moved from what the base model drew? Neither good nor bad: it says how much."""

from __future__ import annotations

from shared.errors import ModelError
from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.scoring.features import Features, cosines, visual_embedding
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row


def drift(metric_input: MetricInput, features: Features) -> list[Row]:
    """Perceptual distance to step 0's picture of the same prompt and seed, 0…2; 0 at step 0.

    Raises:
        ModelError: step 0 has no pictures.
    """
    if metric_input.base is None:
        raise ModelError("step 0 has no pictures to compare with")
    look = features[visual_embedding]
    likeness = cosines(look(metric_input.base), look(metric_input.samples))
    return [{"drift": 1 - cosine} for cosine in likeness]


METRIC = Metric(
    name="drift",
    order=70,
    columns=(Column(name="drift", meaning="distance to the base model's pictures", direction="none", role="shown"),),
    compute=drift,
    needs=("base",),
    features=(visual_embedding,),
)
