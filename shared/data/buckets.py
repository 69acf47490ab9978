"""Aspect-ratio buckets: pictures keep their shape, and those of one shape are trained together.

NovelAI's idea (2022, "NovelAI improvements on Stable Diffusion"), in the form kohya sd-scripts gave it: sizes of nearly
equal area, at most resolution², both sides multiples of what the model needs. A picture goes to the nearest ratio, is
scaled until it covers the bucket and cut at the centre. Sizes are (width, height) in pixels. Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageOps

from shared.errors import ConfigError

Size = tuple[int, int]

LONGEST = 2
"""Sides range from resolution / 2 to resolution × 2: ratios from 1:4 to 4:1."""
NEIGHBOURS = 1.25
"""A thin bucket may join another whose ratio is at most this factor away: a fifth of the picture is cut at most."""

SAME_SHAPE = 1.02
"""Ratios that differ by this factor at most count as equal: sides are rounded to whole pixels."""


@dataclass(frozen=True)
class Framing:
    """How a picture is brought to its bucket's size; SDXL is told it."""

    original: Size
    """The upright picture's."""
    target: Size
    """The bucket's."""

    @property
    def scale(self) -> float:
        """Factor by which the picture is scaled: it covers the target, and is no larger than that needs."""
        return max(self.target[0] / self.original[0], self.target[1] / self.original[1])

    @property
    def corner(self) -> tuple[int, int]:
        """Left and top of what is seen, in pixels of the scaled picture."""
        left, top = (
            round((side * self.scale - seen) / 2) for side, seen in zip(self.original, self.target, strict=True)
        )
        return left, top

    def apply(self, picture: Image.Image) -> Image.Image:
        """The picture as training and evaluation both see it."""
        return ImageOps.fit(picture, self.target, Image.Resampling.LANCZOS)


def sizes(resolution: int, multiple: int, *, square: bool = False) -> list[Size]:
    """Every bucket, from tall to wide; `square`: the one square.

    Raises:
        ConfigError: resolution is too small for the model, or a square of it is not a multiple of what it needs.
    """
    side = resolution // multiple * multiple
    if side == 0 or (square and side != resolution):
        near = max(side, multiple)
        raise ConfigError(
            f"data.resolution is {resolution}, this model's pictures have sides in multiples of {multiple}",
            f"set data.resolution to {near} or {near + multiple}",
        )
    if square:
        return [(side, side)]
    widths = range(max(multiple, side // LONGEST // multiple * multiple), side * LONGEST + 1, multiple)
    lower = {width: min(side * LONGEST, resolution**2 // width // multiple * multiple) for width in widths}
    fitting = {(width, height) for width, height in lower.items() if height >= multiple}
    fitting |= {(height, width) for width, height in fitting}
    return sorted((size for size in fitting if not _is_inside_another(size, fitting)), key=ratio)


def ratio(size: Size) -> float:
    """Width over height."""
    return size[0] / size[1]


def nearest(size: Size, among: Sequence[Size]) -> Size:
    """The bucket whose ratio is nearest to the picture's; the larger one of two equally near."""
    return min(among, key=lambda bucket: (round(_apart(size, bucket), 9), -bucket[0] * bucket[1]))


def frame(original: Size, among: Sequence[Size]) -> Framing:
    """How one picture is brought to the nearest of these buckets."""
    return Framing(original, nearest(original, among))


def frame_source(original: Size, picture: Framing, among: Sequence[Size]) -> Framing:
    """How the source of a picture is brought to one of these buckets: to the picture's if both have one shape, so that
    they show the same at the same place, else to the nearest.
    """
    if have_same_shape(original, picture.original) and picture.target in among:
        return Framing(original, picture.target)
    return frame(original, among)


def have_same_shape(one: Size, other: Size) -> bool:
    """Whether pictures of these sizes show the same at the same place once both are scaled to one size."""
    return _apart(one, other) <= math.log(SAME_SHAPE)


def assign(originals: Sequence[Size], among: Sequence[Size], *, at_least: int, repeats: Sequence[int]) -> list[Size]:
    """A bucket for each picture. Buckets with fewer than `at_least` pictures join a neighbour of nearly their ratio.

    at_least: pictures of a micro-batch: a thinner bucket would fill one with the same few pictures.
    """
    chosen = [nearest(original, among) for original in originals]
    counts: Counter[Size] = Counter()
    for bucket, times in zip(chosen, repeats, strict=True):
        counts[bucket] += times
    goals = _join(counts, at_least)
    return [goals[bucket] for bucket in chosen]


def _join(counts: Counter[Size], at_least: int) -> dict[Size, Size]:
    """Bucket → where its pictures go; thinnest first, and none of them further than a neighbour."""
    goals = {bucket: bucket for bucket in counts}
    while pair := _next_join(counts, goals, at_least):
        thin, neighbour = pair
        counts[neighbour] += counts.pop(thin)
        goals = {bucket: neighbour if goal == thin else goal for bucket, goal in goals.items()}
    return goals


def _next_join(counts: Counter[Size], goals: dict[Size, Size], at_least: int) -> tuple[Size, Size] | None:
    for thin in sorted((bucket for bucket in counts if counts[bucket] < at_least), key=lambda b: (counts[b], b)):
        members = [bucket for bucket, goal in goals.items() if goal == thin]
        near = [
            bucket
            for bucket in sorted(counts)
            if bucket != thin and all(_apart(member, bucket) <= math.log(NEIGHBOURS) for member in members)
        ]
        if near:
            return thin, nearest(thin, near)
    return None


def _apart(one: Size, other: Size) -> float:
    """Distance of two ratios, symmetric in tall and wide."""
    return abs(math.log(ratio(one) / ratio(other)))


def _is_inside_another(size: Size, among: set[Size]) -> bool:
    return any(other != size and other[0] >= size[0] and other[1] >= size[1] for other in among)
