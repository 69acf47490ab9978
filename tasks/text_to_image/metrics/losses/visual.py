"""`visual_loss`: does the sample look like the reference, whatever it shows?"""

from __future__ import annotations

from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.scoring.features import Features, cosines, visual_embedding
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row


def visual_loss(metric_input: MetricInput, features: Features) -> list[Row]:
    """1 − cosine of a perceptual embedding, 0…2, lower is closer.

    The embedding is DreamSim's (Fu et al. 2023), DINOv2's class token, SigLIP's, EfficientNet-Lite0's at four depths,
    or `gradients` without weights (then 0…1); the record names it. SSIM would prefer flat grey to the same picture
    moved by a hand's breadth.
    """
    look = features[visual_embedding]
    likeness = cosines(look(metric_input.references), look(metric_input.samples))
    return [{"visual_loss": 1 - cosine} for cosine in likeness]


METRIC = Metric(
    name="visual",
    order=10,
    columns=(
        Column(
            name="visual_loss",
            span=2.0,
            label="visual loss",
            aspect="look",
            meaning="how unlike the reference the picture looks",
            direction="lower",
            role="loss",
            weight=0.2,
            leading=True,
        ),
    ),
    compute=visual_loss,
    needs=("references",),
    features=(visual_embedding,),
)
