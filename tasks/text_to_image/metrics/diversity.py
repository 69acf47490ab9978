"""`seed_distance`: how unlike are the pictures of one prompt? A LoRA that has learnt by heart draws one picture.

Relative to step 0, over prompts, this is the table's `diversity`: about 1 at first; falling is bad.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from shared.run_folder.metric_descriptions import Column, Ratio, Sign
from tasks.text_to_image.scoring.features import Features, unlikeness, visual_embedding
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row


def seed_distance(metric_input: MetricInput, features: Features) -> list[Row]:
    """Mean perceptual distance to the other samples of the same prompt, 0…2; blank when there is no other.

    Averaged over a prompt's samples it is their mean pairwise distance.
    """
    vectors = np.stack(features[visual_embedding](metric_input.samples)).astype(np.float64)
    companions: defaultdict[str, list[int]] = defaultdict(list)
    for number, prompt in enumerate(metric_input.prompts):
        companions[prompt].append(number)
    rows: list[Row] = []
    for number, prompt in enumerate(metric_input.prompts):
        others = [other for other in companions[prompt] if other != number]
        rows.append({"seed_distance": float(unlikeness(vectors[others], vectors[number]).mean()) if others else None})
    return rows


METRIC = Metric(
    name="diversity",
    order=50,
    columns=(
        Column(
            name="seed_distance",
            meaning="distance to the other pictures of the same prompt",
            direction="none",
            role="recorded",
        ),
        Column(
            name="diversity",
            meaning="1 for the base model; lower means less variety",
            direction="higher",
            role="overfitting",
            ratio=Ratio(of="seed_distance", over="seed_distance", at_step_0=True),
            sign=Sign(
                name="diversity",
                limit=0.5,  # some narrowing is what learning a concept means
                evidence="pictures of one prompt differ {value} as much as the base model's; a sign if the whole "
                "interval is under {limit}",
                unknown="no prompt has two pictures: see evaluation.num_seeds",
            ),
        ),
    ),
    compute=seed_distance,
    needs=("seeds",),
    features=(visual_embedding,),
    missing_reason="one picture of a prompt has nothing to differ from",
)
