"""`subject_loss`: how unlike the training pictures is the sample? For prompts that have no real picture of their own.

The measure of DreamBooth (Ruiz et al. 2023, § 4.2): the mean similarity to the pictures of the subject, as
`evaluation.visual` sees them. What a LoRA has learnt shows in every picture of the subject, whatever the prompt asks
for, but the mean alone prefers an average of them. So the similarity to the nearest one counts as much. No similarity
counts beyond what a training picture has to the nearest of the others: to come nearer is to copy, which is no gain
(`copying.py` tests it).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ModelError
from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.encoders.encoder import Vector
from tasks.text_to_image.scoring.features import Features, Memo, visual_embedding
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

if TYPE_CHECKING:  # its room imports the metrics
    from tasks.text_to_image.evaluation.training_set import TrainingSet

Array = NDArray[np.float64]

MOST_TRAINING_PICTURES = 200
"""Compared with, at most, evenly spread: an encoder sees each of them once."""


def subject_loss(metric_input: MetricInput, features: Features) -> list[Row]:
    """How far the samples are from the training pictures.

    `subject_loss`: 1 − the mean of the two similarities below, 0…2, each cosine limited to `subject_nearest_real`.
    `subject_mean`, `subject_nearest`: cosine to the training pictures on average, and to the nearest one; −1…1.
    `subject_mean_real`, `subject_nearest_real`: the same of a training picture to the others.

    Raises:
        ModelError: there are no training pictures, or a single one.
        DataError: they are no longer what they were.
    """
    if metric_input.training is None:
        raise ModelError("there are no training pictures to compare with")
    look = features[visual_embedding]
    training_ND, mean_real, nearest_real = _known(metric_input.training, look)
    similarity_SN = np.stack(look(metric_input.samples)).astype(np.float64) @ training_ND.T
    counted_SN = np.minimum(similarity_SN, nearest_real)
    likeness_S = (counted_SN.mean(axis=1) + counted_SN.max(axis=1)) / 2
    return [
        {
            "subject_loss": 1 - float(likeness),
            "subject_mean": float(similarity_N.mean()),
            "subject_nearest": float(similarity_N.max()),
            "subject_mean_real": mean_real,
            "subject_nearest_real": nearest_real,
        }
        for likeness, similarity_N in zip(likeness_S, similarity_SN, strict=True)
    ]


@lru_cache(maxsize=2)
def _known(training: TrainingSet, look: Memo[Image.Image, Vector]) -> tuple[Array, float, float]:
    """(the training pictures, (N, D); the mean similarity of one to the others, and to the nearest of them)."""
    training_ND = training.vectors(look.extract, MOST_TRAINING_PICTURES).astype(np.float64)
    if len(training_ND) < 2:
        raise ModelError("there is only one training picture, so nothing tells how alike pictures of the subject are")
    similarity_NN = training_ND @ training_ND.T
    others_NN = similarity_NN[~np.eye(len(training_ND), dtype=bool)].reshape(len(training_ND), -1)
    return training_ND, float(others_NN.mean()), float(others_NN.max(axis=1).mean())


METRIC = Metric(
    name="subject",
    order=35,
    columns=(
        Column(
            name="subject_loss",
            span=2.0,
            label="subject loss",
            aspect="subject",
            meaning="how unlike the training pictures the picture looks",
            direction="lower",
            role="loss",
            weight=1.0,
            without_reference=True,
        ),
        Column(
            name="subject_mean",
            label="similarity to the training pictures",
            meaning="on average; 1 is the same",
            direction="none",
            role="shown",
        ),
        Column(
            name="subject_nearest",
            label="similarity to the most alike training picture",
            meaning="as the visual encoder sees it; 1 is the same",
            direction="none",
            role="shown",
        ),
        Column(
            name="subject_mean_real",
            meaning="similarity of a training picture to the others",
            direction="none",
            role="listed",
        ),
        Column(
            name="subject_nearest_real",
            meaning="similarity of a training picture to the most alike other one",
            direction="none",
            role="listed",
        ),
    ),
    compute=subject_loss,
    needs=("training",),
    features=(visual_embedding,),
    for_own_prompts=True,
)
