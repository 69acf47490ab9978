"""The blocks of a transformer, told from the names of its weights: how many there are, and how large each is.

Blocks that wait in the host's memory (`model.blocks_to_swap`) are chosen here, by the trainer and by the estimate.
"""

from __future__ import annotations

import re
from typing import Literal

from shared.errors import ConfigError
from tasks.text_to_image.models.weights_header import Tensors

NAME = re.compile(r"^(?:model\.diffusion_model\.)?([a-z_]+)\.(\d+)\.[a-z]\w*\.")
"""A weight two levels below an element of a list: a sequence of single layers is no list of blocks."""
ON_DEVICE = 3
"""Swapped blocks that a device holds at once: the one that computes, the next one, and the one it has just left."""


def blocks(denoiser: Tensors) -> list[Tensors]:
    """Each block's weights, in the order of the file's lists and their numbers."""
    found: dict[tuple[str, int], Tensors] = {}
    for name, tensor in denoiser.items():
        if match := NAME.match(name):
            found.setdefault((match[1], int(match[2])), {})[name] = tensor
    lists = list(dict.fromkeys(name for name, _ in found))
    return [found[key] for key in sorted(found, key=lambda key: (lists.index(key[0]), key[1]))]


def spread(count: int, total: int) -> list[int]:
    """`count` of `total` blocks, as evenly as possible: what stays between two of them computes while one travels."""
    return [(2 * number + 1) * total // (2 * count) for number in range(count)]


def require(count: int, total: int, section: Literal["model", "evaluation"]) -> None:
    """Raises ConfigError if fewer blocks exist than `blocks_to_swap` in this section asks for."""
    if count > total:
        raise ConfigError(
            f"{section}.blocks_to_swap is {count}, but the denoiser has {total} blocks",
            f"set {section}.blocks_to_swap to {total} or less" if total else f"set {section}.blocks_to_swap = 0",
        )
