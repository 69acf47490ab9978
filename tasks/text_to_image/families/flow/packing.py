"""Latents as tokens: 2 × 2 patches in rows, the channels of a token by latent channel, row, column.

Shapes: B batch, C latent channels, H W latent height and width, L tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

PATCH = 2
"""Latents along one side of a token."""


def pack(latents_BCHW: Tensor) -> Tensor:
    """(B, L, 4C), as the pipelines of FLUX and Qwen-Image pack. H and W must be even."""
    patches = latents_BCHW.unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH))  # B C H/2 2 W/2 2
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpack(tokens_BLD: Tensor, height: int, width: int) -> Tensor:
    """(B, C, H, W) of tokens; height, width: of the latents."""
    patches = tokens_BLD.unflatten(2, (-1, PATCH, PATCH)).unflatten(1, (height // PATCH, width // PATCH))
    return patches.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
