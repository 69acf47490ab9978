"""`prior_price`: how far have the pictures of unrelated prompts moved? What a LoRA costs, beside what it gains.

Each picture is compared with the base model's own picture of the same prompt and seed. The unit is the distance of two
seeds of the base model for this prompt: at 1, the LoRA's picture is as far from the base model's as another picture of
the base model would be, and nothing of the first one is left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.run_folder.metric_descriptions import Column, Ratio, Sign
from tasks.text_to_image.encoders.encoder import Vector
from tasks.text_to_image.metrics.drift import drift
from tasks.text_to_image.metrics.features import Features, unlikeness, visual_embedding
from tasks.text_to_image.metrics.metric import Metric
from tasks.text_to_image.metrics.metric_input import MetricInput, Row

MOST = 1.0
"""Of the distance of two seeds."""


def price(metric_input: MetricInput, features: Features, name: str) -> list[Row]:
    """`<name>_drift`: distance to step 0's picture of the same prompt and seed, 0…2.

    `<name>_spread`: distance to the other pictures of the same prompt; only step 0 draws several.

    Raises:
        ModelError: step 0 has no pictures.
    """
    vectors = features[visual_embedding](metric_input.samples)
    moved = drift(metric_input, features)
    return [
        {f"{name}_drift": row["drift"]}
        | ({f"{name}_spread": spread} if (spread := _spread(number, vectors, metric_input.prompts)) is not None else {})
        for number, row in enumerate(moved)
    ]


def _spread(number: int, vectors: Sequence[Vector], prompts: Sequence[str]) -> float | None:
    others = [vectors[other] for other, prompt in enumerate(prompts) if other != number and prompt == prompts[number]]
    if not others:
        return None
    return float(unlikeness(np.stack(others).astype(np.float64), vectors[number].astype(np.float64)).mean())


def price_columns(name: str, label: str, of_what: str, sign: str) -> tuple[Column, ...]:
    """What is recorded, and their ratio, a price."""
    moved, spread = f"{name}_drift", f"{name}_spread"
    return (
        Column(
            name=moved,
            meaning="distance to the base model's picture of the same prompt and seed",
            direction="none",
            role="recorded",
            of_probes=True,
        ),
        Column(
            name=spread,
            meaning="distance of two seeds of the base model",
            direction="none",
            role="recorded",
            of_probes=True,
        ),
        Column(
            name=f"{name}_price",
            label=label,
            meaning="0: as the base model draws them; 1: as far from that as another seed",
            direction="lower",
            role="overfitting",
            ratio=Ratio(of=moved, over=spread, at_step_0=True),
            of_probes=True,
            is_price=True,
            sign=Sign(
                name=sign,
                limit=MOST,
                evidence=f"pictures of {of_what} have moved from the base model's by {{value}} of the distance between "
                "two of its seeds; a sign if the whole interval is over {limit}",
                unknown="no probe prompts are drawn: see evaluation.probes",
            ),
        ),
    )


METRIC = Metric(
    name="prior",
    order=71,
    columns=price_columns("prior", "change of unrelated pictures", "unrelated prompts", "forgetting"),
    compute=lambda metric_input, features: price(metric_input, features, "prior"),
    needs=("base",),
    features=(visual_embedding,),
    of_probes="unrelated",
)
