"""Numbers of a whole held-out set that are no mean over its pictures: precision, recall, F1, calibration. Pure.

Each has an interval by the bootstrap over pictures (Efron 1979): percentiles of what resamples of the same size show.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.run_folder.records.exhibit import Figure

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]

NUM_BINS = 15
"""Of equal width, of the probability of the class that is named (Guo et al. 2017)."""
NUM_RESAMPLES = 1000
LEVEL = 0.95


def confusion(labels_P: Indices, guesses_P: Indices, num_classes: int) -> Indices:
    """(C, C): how many pictures of the class of a row were named the class of a column."""
    return np.bincount(labels_P * num_classes + guesses_P, minlength=num_classes**2).reshape(num_classes, num_classes)


def by_class(confusion_CC: Indices) -> tuple[Numbers, Numbers, Numbers]:
    """(Precision, recall, F1) of each class; 0 where nothing was named it, or nothing is of it."""
    right_C = np.diagonal(confusion_CC, axis1=-2, axis2=-1).astype(np.float64)
    named_C, there_C = confusion_CC.sum(axis=-2), confusion_CC.sum(axis=-1)
    return _share(right_C, named_C), _share(right_C, there_C), _share(2 * right_C, named_C + there_C)


def macro(labels_P: Indices, guesses_P: Indices, num_classes: int) -> dict[str, float]:
    """Precision, recall and F1, each averaged over the classes that the set has pictures of."""
    confusion_CC = confusion(labels_P, guesses_P, num_classes)
    return {name: float(value) for name, value in zip(MACRO, _macro(confusion_CC), strict=True)}


MACRO = ("precision", "recall", "f1_score")


def calibration_error(confidences_P: Numbers, right_P: Numbers) -> float:
    """Expected calibration error: how far the share of right answers is from the confidence, over `NUM_BINS` bins."""
    apart_B = np.bincount(bins_of(confidences_P), right_P - confidences_P, minlength=NUM_BINS)
    return float(np.abs(apart_B).sum() / len(right_P))


def bins_of(confidences_P: Numbers) -> Indices:
    """The number of each confidence's bin, from 0."""
    return np.minimum((confidences_P * NUM_BINS).astype(np.int64), NUM_BINS - 1)


def figures(labels_P: Indices, probabilities_PC: Numbers, seed: int) -> dict[str, Figure]:
    """Every number of the set, with its interval. The same seed draws the same resamples."""
    num_pictures, num_classes = probabilities_PC.shape
    guesses_P, confidences_P = probabilities_PC.argmax(axis=1), probabilities_PC.max(axis=1)
    right_P = (guesses_P == labels_P).astype(np.float64)
    found = {**macro(labels_P, guesses_P, num_classes), "calibration_error": calibration_error(confidences_P, right_P)}
    random, drawn = np.random.default_rng(seed), list[tuple[float, ...]]()
    for _ in range(NUM_RESAMPLES):
        places = random.integers(num_pictures, size=num_pictures)
        resampled = macro(labels_P[places], guesses_P[places], num_classes)
        drawn.append((*resampled.values(), calibration_error(confidences_P[places], right_P[places])))
    ends = np.quantile(np.array(drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return {
        name: Figure(value=value, low=float(ends[0, place]), high=float(ends[1, place]))
        for place, (name, value) in enumerate(found.items())
    }


def _macro(confusion_CC: Indices) -> tuple[float, ...]:
    there = confusion_CC.sum(axis=1) > 0
    return tuple(float(values_C[there].mean()) for values_C in by_class(confusion_CC))


def _share(part: Numbers, whole: NDArray[np.int64]) -> Numbers:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
