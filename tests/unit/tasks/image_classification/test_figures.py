"""Numbers of a whole held-out set, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.image_classification import figures

LABELS = np.array([0, 0, 0, 1, 1, 2])
GUESSES = np.array([0, 0, 1, 1, 0, 2])


def test_precision_recall_and_f1_are_means_over_classes() -> None:
    found = figures.macro(LABELS, GUESSES, 3)
    assert found["precision"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert found["recall"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert found["f1_score"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert figures.confusion(LABELS, GUESSES, 3).tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_a_class_that_is_never_named_counts_as_zero_and_one_without_pictures_not_at_all() -> None:
    found = figures.macro(np.array([0, 0, 1]), np.array([0, 0, 0]), 3)
    assert found == {"precision": pytest.approx(1 / 3), "recall": 0.5, "f1_score": pytest.approx(0.4)}


def test_calibration_is_the_distance_of_confidence_from_the_share_of_right_answers() -> None:
    confidences, right = np.array([0.95, 0.95, 0.55, 1.0]), np.array([1.0, 0.0, 1.0, 1.0])
    bins = [(0.95 + 0.95 + 1.0, 2.0), (0.55, 1.0)]  # 0.9333… and more, and the bin of 0.55
    expected = sum(abs(sure - hits) for sure, hits in bins) / 4
    assert figures.calibration_error(confidences, right) == pytest.approx(expected)
    assert figures.calibration_error(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 0


def test_intervals_are_the_same_for_the_same_seed_and_narrower_with_more_pictures() -> None:
    random = np.random.default_rng(0)
    widths = []
    for count in (40, 640):
        labels = random.integers(3, size=count)
        scores = 0.5 * np.eye(3)[labels] + random.random((count, 3))
        probabilities = scores / scores.sum(axis=1, keepdims=True)
        found, again = (figures.figures(labels, probabilities, seed=1) for _ in range(2))
        assert found == again
        one = found["f1_score"]
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high
        widths.append(one.high - one.low)
    assert widths[1] < 0.5 * widths[0]
