"""The architecture of the VAE of Stable Diffusion, which most later models share but for its latent channels."""

from __future__ import annotations

from typing import Any

VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
