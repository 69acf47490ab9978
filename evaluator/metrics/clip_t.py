"""`clip_t`: does the sample still show what the prompt says? A guard against a LoRA that draws one thing for all."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from evaluator.metrics.features import Features, cosines


def clip_t(
    references: Sequence[Image.Image], samples: Sequence[Image.Image], prompts: Sequence[str], features: Features
) -> list[dict[str, float | None]]:
    """Cosine of sample and prompt in the fashion CLIP's space, −1…1, higher follows better. No reference is looked at.

    Typical values are low (0.2 to 0.35 for CLIP ViT-B): only differences to step 0 mean something.
    """
    likeness = cosines(features.fashion(samples), features.fashion_text(prompts))
    return [{"clip_t": cosine} for cosine in likeness]
