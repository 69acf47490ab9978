"""`copy_share`: which samples are one particular training picture, nearer to it than chance puts a new picture?

The test of Carlini et al. (2023, § 5): a copy is near to one training picture and as far from the next ones as any
picture is. How near chance comes is measured on pictures that copy nothing: each training picture against the others,
and each held-out one against all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.stats import false_discovery_control

from shared.errors import ModelError
from shared.run_folder.metric_descriptions import Column, Sign
from shared.statistics.nearest import probability_of_nearer
from tasks.text_to_image.descriptors.layout import mirrored
from tasks.text_to_image.metrics.features import Features, picture_layout
from tasks.text_to_image.metrics.metric import Metric
from tasks.text_to_image.metrics.metric_input import MetricInput, Row

Array = NDArray[np.float64]

FALSE_ALARMS = 0.001
"""Share of evaluations without a copy in which chance alone makes a picture unusual."""
FURTHEST = 0.02
"""1 − correlation of a copy with what it copies, at most. Among 12 mixed pictures a new one of the same kind as one of
them is unusually near to that one, at 0.02 to 0.2; copies encoded again, mirrored or brighter are at 0 to 0.01."""
NUM_NEXT = 49
"""Training pictures after the nearest one, at most, whose mean distance is what is usual for the picture."""
TWIN = 0.05
"""Training pictures nearer to one another than this, relative to what is usual, count as one: a re-encoded or mirrored
copy is below it, and of 200 different pictures the two most alike are about at it."""
IDENTICAL = 1e-4
"""Distance below which two pictures are one, whatever is usual."""
MIN_DIFFERENT = 4
"""Training pictures without which nothing is known of chance."""


def copies(metric_input: MetricInput, features: Features) -> list[Row]:
    """Which samples copy a training picture, also mirrored, in another colour or under another light.

    `copy_max`: correlation with the most similar training picture or its mirror image, −1…1.
    `copy_ratio`: distance to the nearest training picture over the mean distance to the next `NUM_NEXT`.
    `copy_p`: the probability that a picture that copies nothing has a ratio as small.
    `copy_share`: 1 where that is too small for chance among all samples (Benjamini & Hochberg 1995) and the distance is
    at most `FURTHEST`, else 0.
    `copy_of`: the position of the training picture that is copied; only where one is.

    Raises:
        ModelError: there are no training pictures, or fewer than `MIN_DIFFERENT`, to compare with.
    """
    if metric_input.training is None:
        raise ModelError("there are no training pictures to compare with")
    look = features[picture_layout]
    training = _Training.of(metric_input.training.vectors(look.extract))
    held_out = np.unique(np.stack(look(metric_input.references)), axis=0)
    samples = np.stack(look(metric_input.samples))
    by_chance = np.concatenate([training.ratios_among_themselves(), training.ratios(held_out)])
    found = training.ratios(samples)
    chances = probability_of_nearer(found, by_chance[by_chance > TWIN])
    nearest = distances(samples, training.layouts)
    is_copy = (false_discovery_control(chances) <= FALSE_ALARMS) & (nearest.min(axis=1) <= FURTHEST)
    rows: list[Row] = []
    for number, copied in enumerate(is_copy):
        row: Row = {
            "copy_max": 1 - float(nearest[number].min()),
            "copy_ratio": float(found[number]),
            "copy_p": float(chances[number]),
            "copy_share": float(copied),
        }
        rows.append(row | ({"copy_of": float(nearest[number].argmin())} if copied else {}))
    return rows


@dataclass(frozen=True)
class _Training:
    """The training pictures; twins count as one, or no picture that has a twin could be copied."""

    layouts: NDArray[np.float32]
    """(N, D)"""
    among: Array
    """Their distances, (N, N)."""
    twins: NDArray[np.int32]
    """(N,) Which group of twins each belongs to, 0…G − 1."""

    @classmethod
    def of(cls, layouts_ND: NDArray[np.float32]) -> _Training:
        among = distances(layouts_ND, layouts_ND)
        if len(among) >= MIN_DIFFERENT:
            usual = np.sort(among, axis=1)[:, 2 : NUM_NEXT + 2].mean(axis=1)  # after itself and the nearest
            twins: Any = connected_components(among < np.maximum(TWIN * usual, IDENTICAL), directed=False)
            if twins[0] >= MIN_DIFFERENT:
                return cls(layouts_ND, among, twins[1])
        raise ModelError(f"there are fewer than {MIN_DIFFERENT} different training pictures to compare with")

    def ratios(self, layouts_SD: NDArray[np.float32]) -> Array:
        """Of pictures that were not trained on, (S,), each > 0 and ≤ 1."""
        return _ratios(self._by_group(distances(layouts_SD, self.layouts)))

    def ratios_among_themselves(self) -> Array:
        """Of the first picture of each group, compared with the other groups. (G,)"""
        _, firsts = np.unique(self.twins, return_index=True)
        between_GG = self._by_group(self.among[firsts])
        np.fill_diagonal(between_GG, np.inf)
        return _ratios(between_GG)

    def _by_group(self, distances_SN: Array) -> Array:
        """The distance to the nearest of each group, (S, G)."""
        order = np.argsort(self.twins, kind="stable")
        _, starts = np.unique(self.twins[order], return_index=True)
        return np.minimum.reduceat(distances_SN[:, order], starts, axis=1)


def distances(layouts_SD: NDArray[np.float32], others_ND: NDArray[np.float32]) -> Array:
    """1 − correlation of each with each, or with its mirror image where that is nearer; (S, N), 0…2."""
    turned = np.stack([mirrored(layout) for layout in layouts_SD])
    correlations = np.maximum(layouts_SD @ others_ND.T, turned @ others_ND.T)
    return np.clip(1 - correlations.astype(np.float64), 0, 2)


def _ratios(distances_SG: Array) -> Array:
    """The smallest over the mean of the next ones; infinite distances, to itself, are left out."""
    ordered = np.sort(distances_SG, axis=1)
    usual = np.ma.masked_invalid(ordered[:, 1 : NUM_NEXT + 1]).mean(axis=1)
    return ordered[:, 0] / np.maximum(np.asarray(usual), np.finfo(float).tiny)


METRIC = Metric(
    name="copying",
    order=60,
    columns=(
        Column(
            name="copy_max",
            label="similarity to the nearest training picture",
            meaning="lower is better",
            direction="lower",
            role="shown",
        ),
        Column(
            name="copy_ratio",
            meaning="distance to the nearest training picture, relative to the next ones",
            direction="none",
            role="recorded",
        ),
        Column(
            name="copy_p",
            meaning="how often chance puts a new picture as near",
            direction="none",
            role="recorded",
        ),
        Column(
            name="copy_share",
            label="pictures copied",
            meaning="share that copies one training picture: lower is better",
            direction="lower",
            role="overfitting",
            sign=Sign(
                name="copying",
                limit=0,
                each=True,
                evidence="{value} of the pictures are copies of one training picture each, nearer to it than chance "
                "puts a new picture",
                unknown="the training pictures could not be compared",
            ),
        ),
        Column(
            name="copy_of",
            label="copy of",
            meaning="the training picture it copies",
            direction="none",
            role="recorded",
            points_to="training",
        ),
    ),
    compute=copies,
    needs=("references", "training"),
    features=(picture_layout,),
)
