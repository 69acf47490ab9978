"""The VAE of the run: 64 × 64 glyphs to 8 × 8 × 16 latents and back.

Its latents are the strongest principal components of patches of 8 × 8 pixels, all divided by one number. An error of
the denoiser then costs as much in a latent as in pixels. If each channel had deviation 1, the weakest component would
count as much as strokes do (docs/from-scratch.md has what that costs).
Layout: B glyphs, N patches, P pixels of a patch, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from examples.kanji.glyphs import SIZE
from pocket.training.vae import decode, posterior, start_linear

CHANNELS = 16
EDGE = 8
"""Of a patch, pixels."""
CONFIG: dict[str, Any] = {
    "sample_size": SIZE,
    "block_out_channels": (16, 32, 64, 128),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "latent_channels": CHANNELS,
    "scaling_factor": 1.0,
    "mid_block_add_attention": False,
}
NUM_STEPS, BATCH_SIZE, LEARNING_RATE = 350, 32, 3e-3
NOISE = 0.1
"""Deviation of the error that the decoder learns to bear."""


@dataclass(frozen=True)
class Components:
    """The strongest principal components of patches."""

    mean: Tensor
    """(P,)."""
    vectors: Tensor
    """(P, C): orthogonal, divided by the root of the mean square of what they give."""

    @classmethod
    def of(cls, glyphs_BHW: Tensor) -> Components:
        """Of every patch. glyphs: -1…1."""
        patches_MP = _patches(glyphs_BHW).flatten(0, 1)
        mean_P = patches_MP.mean(dim=0)
        centred_MP = patches_MP - mean_P
        vectors_PC = torch.linalg.eigh(centred_MP.T @ centred_MP)[1].flip(1)[:, :CHANNELS]
        return cls(mean_P, vectors_PC / (centred_MP @ vectors_PC).square().mean().sqrt())

    def latents(self, glyphs_BHW: Tensor) -> Tensor:
        """(B, C, H / 8, W / 8)."""
        found_BCN = ((_patches(glyphs_BHW) - self.mean) @ self.vectors).transpose(1, 2)
        return found_BCN.unflatten(2, (glyphs_BHW.shape[1] // EDGE, glyphs_BHW.shape[2] // EDGE))


def _patches(glyphs_BHW: Tensor) -> Tensor:
    """(B, N, P)."""
    return F.unfold(glyphs_BHW.unsqueeze(1), EDGE, stride=EDGE).transpose(1, 2)


def build() -> AutoencoderKL:
    """The untrained VAE, 2.6 M parameters."""
    vae = AutoencoderKL(**CONFIG)
    start_linear(vae)
    return vae


def train(glyphs_BHW: Tensor, seed: int = 0) -> AutoencoderKL:
    """The encoder learns the components, the decoder to draw the glyph from them. glyphs: uint8, 0 is ink."""
    torch.manual_seed(seed)
    vae, components = build(), Components.of(floats(glyphs_BHW))
    optimizer = torch.optim.AdamW(vae.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, NUM_STEPS, pct_start=0.1)
    for step in track(range(NUM_STEPS), description="the VAE learns glyphs"):
        generator = torch.Generator().manual_seed(step)
        glyphs = floats(glyphs_BHW[torch.randint(len(glyphs_BHW), (BATCH_SIZE,), generator=generator)])
        latents, pictures = components.latents(glyphs), coloured(glyphs)
        noise = NOISE * torch.randn(latents.shape, generator=generator)
        with torch.autocast("cpu", torch.bfloat16):
            encoded, decoded = posterior(vae, pictures).mean.float(), decode(vae, latents + noise)
        loss = F.mse_loss(encoded, latents) + F.mse_loss(decoded, pictures)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return vae.eval()


def floats(glyphs_BHW: Tensor) -> Tensor:
    """uint8 -> -1…1."""
    return glyphs_BHW.float() / 127.5 - 1


def coloured(glyphs_BHW: Tensor) -> Tensor:
    """(B, 3, H, W): what a VAE of pictures takes."""
    return glyphs_BHW.unsqueeze(1).expand(-1, 3, -1, -1).contiguous()
