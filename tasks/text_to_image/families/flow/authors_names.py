"""What diffusers calls the weights that the authors of a model name otherwise in single files."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.text_to_image.models.weights_header import TensorShape


def renamed(name: str, replacements: Sequence[tuple[str, str]]) -> str:
    """replacements: regular expressions and what takes their place, one after the other."""
    for pattern, replacement in replacements:
        name = re.sub(pattern, replacement, name)
    return name


def third(tensor: TensorShape) -> TensorShape:
    """Of queries, keys or values, where the authors keep all three in one matrix."""
    return TensorShape((tensor.shape[0] // 3, *tensor.shape[1:]), tensor.dtype)
