"""Features for metrics that should look at few of them: asking for another fails the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.text_to_image.scoring import features
from tasks.text_to_image.scoring.features import Extractor, Features


def features_of(**extractors: Callable[..., Any]) -> Features:
    """The given extractors by the names of their features; every other one fails."""

    def unused(item: object) -> Any:
        raise AssertionError(item)

    known = ("visual_embedding", "clip_picture", "clip_text", "garment_palette", "picture_lightness")
    return Features({getattr(features, name): Extractor(extractors.get(name, unused)) for name in known})
