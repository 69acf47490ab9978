"""What a metric looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from shared.errors import DataError

if TYPE_CHECKING:  # its room imports the metrics
    from tasks.text_to_image.evaluation.training_set import TrainingSet


class NotGivenError(DataError):
    """What was learnt from is not there to compare with: another trainer's LoRAs, without their training pictures."""


Row = dict[str, float | None]
"""One sample's numbers by column; None is a blank, explained elsewhere."""


@dataclass(frozen=True)
class MetricInput:
    """Samples beside what they are compared with. Sequences are of one length; whoever builds it pairs by id."""

    references: Sequence[Image.Image]
    """Empty where the prompts have none: then only metrics that can do without are computed."""
    samples: Sequence[Image.Image]
    prompts: Sequence[str]
    """A picture without a prompt has an empty one."""
    base: Sequence[Image.Image] | None = None
    """Step 0's pictures of the same prompts and seeds; None where there are none."""
    base_again: Sequence[Image.Image] | None = None
    """Step 0's pictures of the same prompts with another seed; only of probe prompts."""
    sources: Sequence[Image.Image | None] = ()
    """What each sample is made from, the first of several; empty or None where there is none."""
    training: TrainingSet | None = None
    """What the run learns from; None where there is no run."""
