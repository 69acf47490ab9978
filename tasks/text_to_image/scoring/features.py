"""What the metrics look at: each picture's vectors and palette, computed once however many metrics and snapshots ask.

A feature is a function that takes the run's encoders and gives an extractor. A metric names those it looks through, of
this file or of its own. References stay remembered for the whole run because every snapshot asks for them; what no one
asks for goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.text_to_image.descriptors import gradients, likeness, palette
from tasks.text_to_image.descriptors.palette import Palette
from tasks.text_to_image.encoders.chosen import Encoders
from tasks.text_to_image.encoders.encoder import EncoderRecord, Vector

Captioned = tuple[Image.Image, str]
"""A picture and its prompt."""
Item = TypeVar("Item", Image.Image, str, Captioned)
Value = TypeVar("Value")

CAPACITY = 1024
"""Items remembered per extractor: far above the references and samples of one evaluation, a few MiB at most."""


@dataclass(frozen=True)
class Extractor(Generic[Item, Value]):
    """Computes a feature of one picture or text."""

    extract: Callable[[Item], Value]
    record: EncoderRecord | None = None
    """Which encoder it is; None where no choice of encoder changes the numbers."""


Feature = Callable[[Encoders], Extractor[Item, Value]]


class Memo(Generic[Item, Value]):
    """An extractor that remembers by content: equal pixels are looked at once."""

    def __init__(self, extract: Callable[[Item], Value], capacity: int = CAPACITY) -> None:
        self.extract, self._capacity = extract, capacity
        self._known: OrderedDict[bytes, Value] = OrderedDict()

    def __call__(self, items: Sequence[Item]) -> list[Value]:
        """One feature for each item, in order. Raises what the extractor raises."""
        keys: dict[int, bytes] = {}  # one look at an object that comes many times, as references do
        for item in items:
            if id(item) not in keys:
                keys[id(item)] = _content_key(item)
        return [self._recall(keys[id(item)], item) for item in items]

    def _recall(self, key: bytes, item: Item) -> Value:
        if key not in self._known:
            self._known[key] = self.extract(item)
        self._known.move_to_end(key)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return self._known[key]


class Features:
    """The extractors of one run, each remembering. One whose encoder cannot be had raises ModelError when asked."""

    def __init__(self, extractors: Mapping[Feature[Any, Any], Extractor[Any, Any]]) -> None:
        self._memos = {feature: Memo(extractor.extract) for feature, extractor in extractors.items()}

    def __getitem__(self, feature: Feature[Item, Value]) -> Memo[Item, Value]:
        """Raises ValueError when no metric names the feature: it is not loaded then."""
        if feature not in self._memos:
            raise ValueError(f"{getattr(feature, '__name__', feature)} is not among the features of any metric")
        return self._memos[feature]


def visual_embedding(encoders: Encoders) -> Extractor[Image.Image, Vector]:
    """A picture as `evaluation.visual` sees it."""
    source = encoders.source("visual")
    if source == gradients.RECORD.model:
        return Extractor(gradients.describe, gradients.RECORD)
    encoder = encoders.load(source)
    return Extractor(encoder.embed_image, encoder.record)


def clip_picture(encoders: Encoders) -> Extractor[Image.Image, Vector]:
    """A picture as `evaluation.fashion_clip` sees it."""
    encoder = encoders.load(encoders.source("fashion_clip"))
    return Extractor(encoder.embed_image, encoder.record)


def clip_text(encoders: Encoders) -> Extractor[str, Vector]:
    """A prompt in the same space."""
    encoder = encoders.load(encoders.source("fashion_clip"))
    return Extractor(encoder.embed_text, encoder.record)


def garment_palette(encoders: Encoders) -> Extractor[Image.Image, Palette]:
    """The colours of the garment, which `evaluation.segmenter` finds, or without one what the wall leaves."""
    segmenter = encoders.segmenter()
    if segmenter is None:
        return Extractor(palette.palette, palette.RECORD)
    return Extractor(lambda picture: palette.palette(picture, segmenter.garment(picture)), segmenter.record)


def picture_lightness(encoders: Encoders) -> Extractor[Image.Image, Vector]:
    """Where a picture is light and where dark."""
    return Extractor(likeness.lightness, likeness.RECORD)


def cosines(one: Sequence[Vector], other: Sequence[Vector]) -> list[float]:
    """Cosine of each pair of unit vectors, −1…1, summed in float64; float32's last digit must not make it exceed 1."""
    products = [float(np.dot(a.astype(np.float64), b)) for a, b in zip(one, other, strict=True)]
    return [min(1.0, max(-1.0, product)) for product in products]


def unlikeness(vectors_ND: NDArray[np.float64], vector_D: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 − cosine of each unit vector to one; (N,), 0…2."""
    return 1 - vectors_ND @ vector_D


def _content_key(item: Image.Image | str | Captioned) -> bytes:
    if isinstance(item, tuple):
        return b"".join(map(_content_key, item))
    if isinstance(item, str):
        return sha256(item.encode()).digest()
    return sha256(f"{item.mode} {item.size} ".encode() + item.tobytes()).digest()
