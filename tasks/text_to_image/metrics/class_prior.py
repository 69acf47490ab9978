"""`class_price`: how far have the pictures of the class word, without the trigger word, moved?

A LoRA that is trained without a trigger word teaches the class word itself its subject: then every dress becomes this
dress. Measured as `prior.py` measures unrelated prompts.
"""

from __future__ import annotations

from tasks.text_to_image.metrics.prior import price, price_columns
from tasks.text_to_image.scoring.features import visual_embedding
from tasks.text_to_image.scoring.metric import Metric

METRIC = Metric(
    name="class_prior",
    order=72,
    columns=price_columns(
        "class", "change of the class word's pictures", "the class word without the trigger word", "spillover"
    ),
    compute=lambda metric_input, features: price(metric_input, features, "class"),
    needs=("base",),
    features=(visual_embedding,),
    of_probes="class",
)
