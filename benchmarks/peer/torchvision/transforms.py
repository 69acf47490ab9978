"""Transforms of pictures by Pillow, with torchvision's names and results."""

# ruff: noqa: D102 - each class says what its call does

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor


class InterpolationMode(Enum):
    """Those that the script may ask for."""

    BILINEAR = Image.Resampling.BILINEAR
    BICUBIC = Image.Resampling.BICUBIC
    LANCZOS = Image.Resampling.LANCZOS


class Compose:
    """One after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self._transforms = transforms

    def __call__(self, value: Any) -> Any:
        for transform in self._transforms:
            value = transform(value)
        return value


class Resize:
    """The shorter side becomes `size` pixels long."""

    def __init__(self, size: int, interpolation: InterpolationMode = InterpolationMode.BILINEAR) -> None:
        self._size, self._filter = size, interpolation.value

    def __call__(self, picture: Image.Image) -> Image.Image:
        width, height = picture.size
        if min(width, height) == self._size:
            return picture
        scale = self._size / min(width, height)
        return picture.resize((round(width * scale), round(height * scale)), self._filter)


class CenterCrop:
    """A square from the middle."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, picture: Image.Image) -> Image.Image:
        left, top = ((side - self._size) // 2 for side in picture.size)
        return picture.crop((left, top, left + self._size, top + self._size))


class RandomCrop:
    """A square from anywhere."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, picture: Image.Image) -> Image.Image:
        left, top = (random.randint(0, side - self._size) for side in picture.size)
        return picture.crop((left, top, left + self._size, top + self._size))


class RandomHorizontalFlip:
    """Half of the pictures are mirrored."""

    def __call__(self, picture: Image.Image) -> Image.Image:
        return ImageOps.mirror(picture) if random.random() < 0.5 else picture


class Lambda:
    """A function of the script's own."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, value: Any) -> Any:
        return self._function(value)


class ToTensor:
    """Height × width × 3 bytes → 3 × height × width floats from 0 to 1."""

    def __call__(self, picture: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float().div(255)


class Normalize:
    """Minus the mean, over the deviation, by channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self._mean, self._deviation = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))

    def __call__(self, tensor: Tensor) -> Tensor:
        return (tensor - self._mean) / self._deviation
