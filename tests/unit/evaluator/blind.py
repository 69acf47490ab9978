"""Features for metrics that should look at few of them: asking for another fails the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.text_to_image.metrics.features import Features, Memo


def features_of(**extractors: Callable[..., Any]) -> Features:
    """The given extractors; every other one fails."""

    def unused(item: object) -> Any:
        raise AssertionError(item)

    names = ("visual", "fashion", "fashion_text", "palette", "layout")
    return Features(**{name: Memo(extractors.get(name, unused)) for name in names})
