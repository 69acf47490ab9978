"""Floor and ceiling of each loss's scale for a set of references, and how well samples match their own reference.

Floor: a real picture of another prompt. Ceiling: the most similar other real picture. Both are computed from the
references only, so all samples of a run, and any two folders scored against the same references, share one scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.errors import DarkroomError
from shared.run_folder.records.evaluation_result import Anchors
from tasks.text_to_image.evaluation.scorer import Scorer
from tasks.text_to_image.scoring.metric_input import MetricInput

Array = NDArray[np.float64]

MAX_OTHERS = 32
"""Other pictures to compare each reference with, evenly spread; all pairs would be a quadratic number."""


def anchors(references: Sequence[Image.Image], scorer: Scorer) -> dict[str, Anchors]:
    """Loss → its floor and ceiling. A loss without an encoder is absent; with fewer than two references all are."""
    ends: dict[str, Anchors] = {}
    higher = {column.name for metric in scorer.metrics for column in metric.columns if column.direction == "higher"}
    for loss, losses in mismatched(references, references, scorer).items():
        known = losses[np.isfinite(losses).any(axis=1)]
        if len(known):
            most_similar = np.nanmin(known, axis=1) if loss not in higher else np.nanmax(known, axis=1)
            ends[loss] = Anchors(shuffled=float(np.nanmean(known)), real=float(most_similar.mean()))
    return ends


def mismatched(references: Sequence[Image.Image], samples: Sequence[Image.Image], scorer: Scorer) -> dict[str, Array]:
    """Loss → the loss of each reference against samples of other references; (N, at most `MAX_OTHERS`).

    NaN where there is no number.
    """
    shifts = _shifts(len(references))
    if not shifts:
        return {}
    rotated = [sample for shift in shifts for sample in (*samples[shift:], *samples[:shift])]
    repeated = [*references] * len(shifts)
    metric_input = MetricInput(repeated, rotated, [""] * len(rotated))
    by_loss: dict[str, Array] = {}
    for metric in scorer.metrics:
        losses = [column.name for column in metric.columns if column.role == "loss"]
        if not losses or not metric.is_pairwise:
            continue
        try:
            rows = metric.compute(metric_input, scorer.features)
        except DarkroomError:
            continue  # the samples have no value either, and record the reason
        for loss in losses:
            values = np.array([row[loss] for row in rows], dtype=float)
            by_loss[loss] = values.reshape(len(shifts), len(references)).T
    return by_loss


def matching(matched: Sequence[float], shuffled: Array) -> float | None:
    """How often a matched pair has a lower loss than a shuffled one, 0…1: the area under the curve; 0.5 is chance.

    None where there is no shuffled one.
    """
    own = np.asarray(matched, dtype=float)[:, None]
    others = shuffled[np.isfinite(shuffled)]
    if not others.size:
        return None
    return float((own < others).mean() + (own == others).mean() / 2)


def _shifts(count: int) -> list[int]:
    """By how many places to rotate the samples against the references; never 0."""
    if count - 1 <= MAX_OTHERS:
        return list(range(1, count))
    return np.linspace(1, count - 1, MAX_OTHERS).round().astype(int).tolist()
