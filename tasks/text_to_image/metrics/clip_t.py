"""`clip_t`: does the sample still show what the prompt says? A guard against a LoRA that draws one thing for all."""

from __future__ import annotations

from tasks.text_to_image.metrics.features import Features, cosines
from tasks.text_to_image.metrics.metric_input import MetricInput, Row


def clip_t(metric_input: MetricInput, features: Features) -> list[Row]:
    """Cosine of picture and prompt in the fashion CLIP's space, −1…1, higher follows better; blank without a prompt.

    `clip_t`: of the sample. Typical values are low (0.2 to 0.35 for CLIP ViT-B): only differences mean something.
    `clip_t_real`: of the reference. A CLIP that has never met the concept gives the true picture little, and no sample
    can be asked for more.
    """
    texts = features.fashion_text(metric_input.prompts)
    samples = cosines(features.fashion(metric_input.samples), texts)
    references = cosines(features.fashion(metric_input.references), texts)
    return [
        {"clip_t": sample, "clip_t_real": reference} if prompt else {"clip_t": None, "clip_t_real": None}
        for prompt, sample, reference in zip(metric_input.prompts, samples, references, strict=True)
    ]
