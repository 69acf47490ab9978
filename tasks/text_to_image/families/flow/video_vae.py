"""Families whose VAE is Qwen-Image's: it is made for videos, and a picture is a video of one frame.

Shapes: as in `family`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.text_to_image.families.flow.flow_family import FlowFamily

if TYPE_CHECKING:
    from torch import Tensor


class VideoVaeFamily(FlowFamily):
    """A family with such a VAE. Its latents have a mean and a standard deviation for each channel."""

    normalizations = frozenset({"latents_mean", "latents_std"})
    encoding_bytes, decoding_bytes = 20, 36

    def vae_channels(self, vae: Mapping[str, Any]) -> tuple[int, ...]:
        return tuple(vae["base_dim"] * factor for factor in vae["dim_mult"])

    def posterior(self, vae: Any, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = super().posterior(vae, pixels_BCHW.unsqueeze(2))
        return mean.squeeze(2), std.squeeze(2)
