"""A miniature of each flow family, of its true classes, with seeded random weights: one in each file, one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from tests.tiny_flow import z_image


@dataclass(frozen=True)
class Miniature:
    """A family's pipeline for tests."""

    build: Callable[[], Any]
    """The pipeline; the same weights each time. 32 × 32 pictures."""
    true_parts: Callable[[], dict[str, nn.Module]]
    """The parts with weights in their true sizes; called on torch's meta device."""
    guidance: Mapping[str, float]
    """How a person asks the pipeline for `evaluation.guidance_scale` 3."""


MINIATURES = {
    "z-image": Miniature(z_image.build, z_image.true_parts, {"guidance_scale": 2.0}),
}
"""By the family's name."""
