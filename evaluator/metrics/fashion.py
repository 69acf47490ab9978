"""`fashion_clip_loss`: is it the same garment, as a model that has read product catalogues sees it?"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from evaluator.metrics.features import Features, cosines


def fashion_clip_loss(
    references: Sequence[Image.Image], samples: Sequence[Image.Image], prompts: Sequence[str], features: Features
) -> list[dict[str, float | None]]:
    """1 − cosine of FashionCLIP's projected image embeddings, 0…2, lower is closer (Chia et al. 2022).

    Offline the pocket CLIP stands in, and the record says so: compare numbers only under the same record.
    """
    likeness = cosines(features.fashion(references), features.fashion(samples))
    return [{"fashion_clip_loss": 1 - cosine} for cosine in likeness]
