"""`prior_price`: how far have the pictures of unrelated prompts moved? What a LoRA costs, beside what it gains.

Each picture is compared with the base model's own picture of the same prompt and seed. The unit is the distance of two
seeds of the base model for this prompt: at 1, the LoRA's picture is as far from the base model's as another picture of
the base model would be, and nothing of the first one is left. Whether it is further is tested prompt by prompt.
"""

from __future__ import annotations

from shared.errors import ModelError
from shared.run_folder.metric_descriptions import Column, Ratio, Sign
from tasks.text_to_image.scoring.features import Features, cosines, visual_embedding
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row


def price(metric_input: MetricInput, features: Features, name: str) -> list[Row]:
    """`<name>_drift`: distance to step 0's picture of the same prompt and seed, 0…2.

    `<name>_spread`: distance of that picture to step 0's of the same prompt with another seed, 0…2.
    `<name>_excess`: the first minus the second; above 0 the picture has moved further than another seed would.

    Raises:
        ModelError: step 0 has no pictures.
    """
    if metric_input.base is None or metric_input.base_again is None:
        raise ModelError("step 0 has no pictures to compare with")
    look = features[visual_embedding]
    base = look(metric_input.base)
    drifts = [1 - cosine for cosine in cosines(base, look(metric_input.samples))]
    spreads = [1 - cosine for cosine in cosines(base, look(metric_input.base_again))]
    return [
        {f"{name}_drift": drift, f"{name}_spread": spread, f"{name}_excess": drift - spread}
        for drift, spread in zip(drifts, spreads, strict=True)
    ]


def price_columns(name: str, label: str, of_what: str, sign: str) -> tuple[Column, ...]:
    """What is recorded, the price, and the sign of one that is too high."""
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
            role="shown",
            ratio=Ratio(of=moved, over=spread),
            of_probes=True,
            price_limit=1.0,
        ),
        Column(
            name=f"{name}_excess",
            label=f"{label}, beyond another seed",
            meaning="above 0 they are further from the base model's than another seed is",
            direction="lower",
            role="overfitting",
            of_probes=True,
            sign=Sign(
                name=sign,
                limit=0.0,
                evidence=f"pictures of {of_what} are further from the base model's than another of its seeds by "
                "{value}; a sign if the whole interval is over {limit}",
                unknown="too few probe prompts are drawn: see evaluation.probes",
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
