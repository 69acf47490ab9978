"""A miniature of the VAE that SD3, FLUX.1 and Z-Image share: 4 latent channels, a quarter of the picture's sides."""

from __future__ import annotations

from typing import Any

from diffusers import AutoencoderKL


def kl_vae(scaling_factor: float, shift_factor: float, **own: Any) -> AutoencoderKL:
    """With random weights. own: settings of one family."""
    return AutoencoderKL(
        block_out_channels=(16, 16, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=32,
        scaling_factor=scaling_factor,
        shift_factor=shift_factor,
        **own,
    )
