"""The numbers of a picture: one metric a file, all of one shape, named by one plain dict.

A metric takes an metric_input (references, samples, prompts and what else there is to compare with, paired by position:
the caller pairs by id) and the run's features; it gives a row of columns for each sample. It never invents a number:
what cannot be computed at all raises, and a single value that cannot is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tasks.text_to_image.metrics.clip_t import clip_t
from tasks.text_to_image.metrics.color import color_loss
from tasks.text_to_image.metrics.copying import nearest_training_picture
from tasks.text_to_image.metrics.diversity import seed_distance
from tasks.text_to_image.metrics.drift import drift
from tasks.text_to_image.metrics.fashion import fashion_clip_loss
from tasks.text_to_image.metrics.features import Features
from tasks.text_to_image.metrics.legacy import legacy_losses
from tasks.text_to_image.metrics.metric_input import MetricInput, Row
from tasks.text_to_image.metrics.visual import visual_loss


class Compute(Protocol):
    """The shape of a metric. Raises DarkroomError when what it needs cannot be had."""

    def __call__(self, metric_input: MetricInput, features: Features) -> Sequence[Row]:
        """One row for each sample, in order."""
        ...


class Metric(NamedTuple):
    """A computation, the columns that are blank when it fails, and what a single blank means when it does not."""

    compute: Compute
    columns: tuple[str, ...]
    missing_reason: str = ""


METRICS: dict[str, Metric] = {
    "visual": Metric(visual_loss, ("visual_loss",)),
    "fashion": Metric(fashion_clip_loss, ("fashion_clip_loss",)),
    "color": Metric(color_loss, ("color_loss", "color_de00", "mask_fallback")),
    "clip_t": Metric(clip_t, ("clip_t", "clip_t_real"), "there is no prompt"),
    "diversity": Metric(seed_distance, ("seed_distance",), "one picture of a prompt has nothing to differ from"),
    "copying": Metric(nearest_training_picture, ("copy_max", "nn_train", "nn_real")),
    "drift": Metric(drift, ("drift",)),
    "legacy": Metric(legacy_losses, ("legacy_visual_loss", "legacy_color_loss")),
}
PAIRWISE_METRICS = ("visual", "fashion", "color", "clip_t")
"""Need nothing but a reference, a sample and a prompt."""
PAIRWISE_LOSSES = ("visual_loss", "fashion_clip_loss", "color_loss")
DEFAULT_METRICS = (*PAIRWISE_METRICS, "diversity", "copying", "drift")
"""All but `legacy`, which is for comparison only."""
