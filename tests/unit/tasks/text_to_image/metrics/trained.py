"""Training pictures without a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.text_to_image.evaluation.training_set import TrainingSet

Value = TypeVar("Value")


class Trained(TrainingSet):
    """Learnt from these pictures, some of which may have a mask."""

    def __init__(self, pictures: Sequence[Image.Image], given: Sequence[NDArray[np.bool_] | None] = ()) -> None:
        self._pictures, self._given, self._stacked = pictures, given or [None] * len(pictures), {}

    def looked_at(self, look: Callable[[Image.Image], Value], at_most: int = 2000) -> list[Value]:
        return [look(picture) for picture in self._pictures[:at_most]]

    def masks(self, at_most: int = 2000) -> list[NDArray[np.bool_] | None]:
        return list(self._given[:at_most])
