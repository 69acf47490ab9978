"""`fashion_clip_loss`: is it the same garment, as a model that has read product catalogues sees it?"""

from __future__ import annotations

from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.scoring.features import Features, clip_picture, cosines
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row


def fashion_clip_loss(metric_input: MetricInput, features: Features) -> list[Row]:
    """1 − cosine of FashionCLIP's projected image embeddings, 0…2, lower is closer (Chia et al. 2022).

    Offline the pocket CLIP stands in, and the record says so: compare numbers only under the same record.
    """
    look = features[clip_picture]
    likeness = cosines(look(metric_input.references), look(metric_input.samples))
    return [{"fashion_clip_loss": 1 - cosine} for cosine in likeness]


METRIC = Metric(
    name="fashion",
    order=20,
    columns=(
        Column(
            name="fashion_clip_loss",
            span=2.0,
            label="fashion CLIP loss",
            aspect="garment",
            meaning="how unlike the reference the garment is",
            direction="lower",
            role="loss",
            weight=0.6,
            leading=True,
        ),
    ),
    compute=fashion_clip_loss,
    needs=("references",),
    features=(clip_picture,),
)
