"""`copy_max`: does the sample look like one particular training picture? And more than chance would have it?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from shared.errors import ModelError
from shared.run_folder.metric_descriptions import Column, Ratio, Sign
from tasks.text_to_image.encoders.encoder import Vector
from tasks.text_to_image.metrics.features import Features, picture_layout
from tasks.text_to_image.metrics.layout import mirrored
from tasks.text_to_image.metrics.metric import Metric
from tasks.text_to_image.metrics.metric_input import MetricInput, Row

Array = NDArray[np.float64]


def nearest_training_picture(metric_input: MetricInput, features: Features) -> list[Row]:
    """How near the training pictures' layouts are, against how near those of new real pictures are.

    `copy_max`: correlation with the most similar training picture or its mirror image, −1…1.
    `nn_train`, `nn_real`: distance, 0…2, to the most similar of m training pictures, and of m held-out ones (all but
    the sample's own reference), m being as many as there are of both. To a model that has learnt what the pictures
    have in common one is as near as the other: which were trained on is then mere chance. The table's `nn_ratio` is
    the mean of the first over the mean of the second. Distances from real pictures to training pictures would be no
    measure: whatever is drawn is smoother than a photograph, and further from all of them.

    Raises:
        ModelError: there are no training pictures, or fewer than two references, to compare with.
    """
    if metric_input.training is None:
        raise ModelError("there are no training pictures to compare with")
    look = features[picture_layout]
    training_ND = metric_input.training.vectors(look.extract)
    held_out_MD, own = np.unique(np.stack(look(metric_input.references)), axis=0, return_inverse=True)
    if len(held_out_MD) < 2:
        raise ModelError("one held-out picture has no others to compare with")
    rows: list[Row] = []
    for number, sample in zip(own.ravel(), look(metric_input.samples), strict=True):
        trained, others = _distances(training_ND, sample), np.delete(_distances(held_out_MD, sample), number)
        count = min(len(trained), len(others))
        rows.append(
            {
                "copy_max": 1 - float(trained.min()),
                "nn_train": expected_minimum(trained, count),
                "nn_real": expected_minimum(others, count),
            }
        )
    return rows


def expected_minimum(values: Array, count: int) -> float:
    """The mean, over all ways to choose `count` of the values, of the smallest one chosen."""
    ranks = np.arange(len(values) - count + 1)  # the k-th smallest is the minimum of C(N − 1 − k, count − 1) choices
    log_ways = _log_choose(len(values) - 1 - ranks, count - 1) - _log_choose(np.array(len(values)), count)
    return float(np.exp(log_ways) @ np.sort(values)[: len(ranks)])


def _distances(layouts_ND: NDArray[np.float32], sample: Vector) -> Array:
    """1 − correlation with each layout, or with the sample's mirror image where that is nearer; (N,)."""
    both = np.stack([sample, mirrored(sample)]).astype(np.float64)
    return 1 - (layouts_ND.astype(np.float64) @ both.T).max(axis=1)


def _log_choose(total: NDArray[np.intp], chosen: int) -> Array:
    """Logarithm of the binomial coefficient."""
    return gammaln(total + 1) - gammaln(chosen + 1) - gammaln(total - chosen + 1)


METRIC = Metric(
    name="copying",
    order=60,
    columns=(
        Column(
            name="copy_max",
            label="nearest training picture",
            meaning="to a picture trained on, high is bad",
            direction="lower",
            role="shown",
        ),
        Column(
            name="nn_train",
            meaning="distance to the nearest training picture",
            direction="none",
            role="recorded",
        ),
        Column(
            name="nn_real",
            meaning="distance to the nearest of as many held-out pictures",
            direction="none",
            role="recorded",
        ),
        Column(
            name="nn_ratio",
            label="copying ratio",
            meaning="1 is what held-out pictures show, lower is bad",
            direction="higher",
            role="overfitting",
            ratio=Ratio(of="nn_train", over="nn_real"),
            sign=Sign(
                name="copying",
                limit=0.8,  # 1 is what chance gives
                evidence="the nearest training picture is {value} as far away as the nearest of as many held-out ones; "
                "under {limit} for sure would be a sign",
                unknown="the training pictures could not be compared",
            ),
        ),
    ),
    compute=nearest_training_picture,
    needs=("references", "training"),
    features=(picture_layout,),
)
