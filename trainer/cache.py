"""Latents and text embeddings of the training pairs, encoded once; VAE and text encoder are not needed afterwards.

Shapes: C latent channels, H W latent height and width, L tokens, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from shared.dataset import Pair, open_picture, square

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Example:
    """One training pair, encoded, on the CPU in fp32."""

    mean: Tensor
    """Of the VAE's posterior, (C, H, W), not scaled."""
    std: Tensor
    """Likewise."""
    encoder_hidden_states: Tensor
    """(L, D)."""

    def sample_latents(self, generator: torch.Generator, scaling_factor: float) -> Tensor:
        """A draw from the VAE's posterior, scaled as the UNet expects. (C, H, W)."""
        return (self.mean + self.std * torch.randn(self.mean.shape, generator=generator)) * scaling_factor


@torch.no_grad()
def encode(pairs: list[Pair], pipeline: StableDiffusionPipeline, resolution: int, progress: Progress) -> list[Example]:
    """Encode every pair on the pipeline's device; equal captions share one embedding.

    progress: called with (done, total) after each picture.
    """
    texts: dict[str, Tensor] = {}
    examples: list[Example] = []
    for pair in pairs:
        if pair.caption not in texts:
            texts[pair.caption] = _encode_text(pair.caption, pipeline)
        posterior = pipeline.vae.encode(
            _pixels(pair, resolution).to(pipeline.vae.device, pipeline.vae.dtype)
        ).latent_dist
        examples.append(Example(posterior.mean[0].float().cpu(), posterior.std[0].float().cpu(), texts[pair.caption]))
        progress(len(examples), len(pairs))
    return examples


def _encode_text(caption: str, pipeline: StableDiffusionPipeline) -> Tensor:
    prompt_embeds, _ = pipeline.encode_prompt(
        caption, pipeline.text_encoder.device, 1, do_classifier_free_guidance=False
    )
    return prompt_embeds[0].float().cpu()


def _pixels(pair: Pair, resolution: int) -> Tensor:
    """(1, 3, resolution, resolution) in −1…1."""
    picture = np.asarray(square(open_picture(pair.image), resolution), dtype=np.float32)
    return torch.from_numpy(picture / 127.5 - 1.0).permute(2, 0, 1).unsqueeze(0)
