"""The numbers of a picture: one metric a file, all of one shape, named by one plain dict.

A metric takes references, samples and prompts of one length, paired by position (the caller pairs by id), and the
run's features; it gives a row of columns for each sample. It never invents a number: what cannot be computed raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from PIL import Image

from evaluator.metrics.clip_t import clip_t
from evaluator.metrics.color import color_loss
from evaluator.metrics.fashion import fashion_clip_loss
from evaluator.metrics.features import Features
from evaluator.metrics.legacy import legacy_losses
from evaluator.metrics.visual import visual_loss

Row = dict[str, float | None]
"""One sample's numbers by column; None is a blank, explained elsewhere."""


class Compute(Protocol):
    """The shape of a metric. Raises ModelError when its encoder cannot be had."""

    def __call__(
        self,
        references: Sequence[Image.Image],
        samples: Sequence[Image.Image],
        prompts: Sequence[str],
        features: Features,
    ) -> Sequence[Row]:
        """One row for each sample, in order."""
        ...


class Metric(NamedTuple):
    """A computation, and the columns that are blank when it fails."""

    compute: Compute
    columns: tuple[str, ...]


METRICS: dict[str, Metric] = {
    "visual": Metric(visual_loss, ("visual_loss",)),
    "fashion": Metric(fashion_clip_loss, ("fashion_clip_loss",)),
    "color": Metric(color_loss, ("color_loss", "color_de00", "mask_fallback")),
    "clip_t": Metric(clip_t, ("clip_t", "clip_t_real")),
    "legacy": Metric(legacy_losses, ("legacy_visual_loss", "legacy_color_loss")),
}
DEFAULT_METRICS = ("visual", "fashion", "color", "clip_t")
"""All but `legacy`, which is for comparison only."""
