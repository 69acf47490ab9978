"""`visual_loss`: does the sample look like the reference, whatever it shows?"""

from __future__ import annotations

from tasks.text_to_image.metrics.features import Features, cosines
from tasks.text_to_image.metrics.metric_input import MetricInput, Row


def visual_loss(metric_input: MetricInput, features: Features) -> list[Row]:
    """1 − cosine of a perceptual embedding, 0…2, lower is closer.

    The embedding is DreamSim's (Fu et al. 2023), DINOv2's class token, or `gradients` without weights (then 0…1); the
    record names it. SSIM would prefer flat grey to the same picture moved by a hand's breadth.
    """
    likeness = cosines(features.visual(metric_input.references), features.visual(metric_input.samples))
    return [{"visual_loss": 1 - cosine} for cosine in likeness]
