"""`visual_loss`: does the sample look like the reference, whatever it shows?"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from evaluator.metrics.features import Features, cosines


def visual_loss(
    references: Sequence[Image.Image], samples: Sequence[Image.Image], prompts: Sequence[str], features: Features
) -> list[dict[str, float | None]]:
    """1 − cosine of a perceptual embedding, 0…2, lower is closer. The prompts are not looked at.

    The embedding is DINOv2's class token, or `gradients` without weights (then 0…1); the record names it. SSIM would
    prefer flat grey to the same picture moved by a hand's breadth.
    """
    likeness = cosines(features.visual(references), features.visual(samples))
    return [{"visual_loss": 1 - cosine} for cosine in likeness]
