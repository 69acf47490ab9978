"""What the metrics look at: each picture's vectors and palette, computed once however many metrics and snapshots ask.

References stay remembered for the whole run because every snapshot asks for them; what no one asks for goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.text_to_image.encoders.encoder import Vector
from tasks.text_to_image.metrics.palette import Palette

Item = TypeVar("Item", Image.Image, str)
Feature = TypeVar("Feature")

CAPACITY = 1024
"""Items remembered per extractor: far above the references and samples of one evaluation, a few MiB at most."""


class Memo(Generic[Item, Feature]):
    """An extractor that remembers by content: equal pixels are looked at once."""

    def __init__(self, extract: Callable[[Item], Feature], capacity: int = CAPACITY) -> None:
        self.extract, self._capacity = extract, capacity
        self._known: OrderedDict[bytes, Feature] = OrderedDict()

    def __call__(self, items: Sequence[Item]) -> list[Feature]:
        """One feature for each item, in order. Raises what the extractor raises."""
        keys: dict[int, bytes] = {}  # one look at an object that comes many times, as references do
        for item in items:
            if id(item) not in keys:
                keys[id(item)] = _content_key(item)
        return [self._recall(keys[id(item)], item) for item in items]

    def _recall(self, key: bytes, item: Item) -> Feature:
        if key not in self._known:
            self._known[key] = self.extract(item)
        self._known.move_to_end(key)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return self._known[key]


@dataclass(frozen=True)
class Features:
    """The extractors of one run, each remembering. One whose encoder cannot be had raises ModelError when asked."""

    visual: Memo[Image.Image, Vector]
    fashion: Memo[Image.Image, Vector]
    fashion_text: Memo[str, Vector]
    palette: Memo[Image.Image, Palette]
    layout: Memo[Image.Image, Vector]


def cosines(one: Sequence[Vector], other: Sequence[Vector]) -> list[float]:
    """Cosine of each pair of unit vectors, −1…1, summed in float64; float32's last digit must not make it exceed 1."""
    products = [float(np.dot(a.astype(np.float64), b)) for a, b in zip(one, other, strict=True)]
    return [min(1.0, max(-1.0, product)) for product in products]


def unlikeness(vectors_ND: NDArray[np.float64], vector_D: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 − cosine of each unit vector to one; (N,), 0…2."""
    return 1 - vectors_ND @ vector_D


def _content_key(item: Image.Image | str) -> bytes:
    if isinstance(item, str):
        return sha256(item.encode()).digest()
    return sha256(f"{item.mode} {item.size} ".encode() + item.tobytes()).digest()
