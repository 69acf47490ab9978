"""`fashion_clip_loss`: is it the same garment, as a model that has read product catalogues sees it?"""

from __future__ import annotations

from tasks.text_to_image.metrics.features import Features, cosines
from tasks.text_to_image.metrics.metric_input import MetricInput, Row


def fashion_clip_loss(metric_input: MetricInput, features: Features) -> list[Row]:
    """1 − cosine of FashionCLIP's projected image embeddings, 0…2, lower is closer (Chia et al. 2022).

    Offline the pocket CLIP stands in, and the record says so: compare numbers only under the same record.
    """
    likeness = cosines(features.fashion(metric_input.references), features.fashion(metric_input.samples))
    return [{"fashion_clip_loss": 1 - cosine} for cosine in likeness]
