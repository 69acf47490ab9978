"""`seed_distance`: how unlike are the pictures of one prompt? A LoRA that has learnt by heart draws one picture.

Relative to step 0, over prompts, this is the table's `diversity`: about 1 at first; falling is bad.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from tasks.text_to_image.metrics.features import Features, unlikeness
from tasks.text_to_image.metrics.metric_input import MetricInput, Row


def seed_distance(metric_input: MetricInput, features: Features) -> list[Row]:
    """Mean perceptual distance to the other samples of the same prompt, 0…2; blank when there is no other.

    Averaged over a prompt's samples it is their mean pairwise distance.
    """
    vectors = np.stack(features.visual(metric_input.samples)).astype(np.float64)
    companions: defaultdict[str, list[int]] = defaultdict(list)
    for number, prompt in enumerate(metric_input.prompts):
        companions[prompt].append(number)
    rows: list[Row] = []
    for number, prompt in enumerate(metric_input.prompts):
        others = [other for other in companions[prompt] if other != number]
        rows.append({"seed_distance": float(unlikeness(vectors[others], vectors[number]).mean()) if others else None})
    return rows
