"""The latents of sources, what a picture is made from, as part of its conditioning.

Shapes: B batch, C latent channels, H W latent height and width, which may differ from the picture's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.text_to_image.families.model import Conditioning

PREFIX = "source_latents_"


def named(latents: Sequence[Tensor]) -> Conditioning:
    """Each source's, (B, C, H, W), in the units in which the denoiser was trained."""
    return {f"{PREFIX}{number}": latents_BCHW for number, latents_BCHW in enumerate(latents)}


def of(conditioning: Conditioning) -> list[Tensor]:
    """What `named` has put there, in order; empty without sources."""
    count = sum(name.startswith(PREFIX) for name in conditioning)
    return [conditioning[f"{PREFIX}{number}"] for number in range(count)]
