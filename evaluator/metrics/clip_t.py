"""`clip_t`: does the sample still show what the prompt says? A guard against a LoRA that draws one thing for all."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from evaluator.metrics.features import Features, cosines


def clip_t(
    references: Sequence[Image.Image], samples: Sequence[Image.Image], prompts: Sequence[str], features: Features
) -> list[dict[str, float | None]]:
    """Cosine of picture and prompt in the fashion CLIP's space, −1…1, higher follows better.

    `clip_t`: of the sample. Typical values are low (0.2 to 0.35 for CLIP ViT-B): only differences mean something.
    `clip_t_real`: of the reference. A CLIP that has never met the concept gives the true picture little, and no sample
    can be asked for more.
    """
    texts = features.fashion_text(prompts)
    pairs = zip(cosines(features.fashion(samples), texts), cosines(features.fashion(references), texts), strict=True)
    return [{"clip_t": sample, "clip_t_real": reference} for sample, reference in pairs]
