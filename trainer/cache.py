"""Latents and text embeddings of the training pairs, encoded once; VAE and text encoder are not needed afterwards.

Shapes: C latent channels, H W latent height and width, L tokens, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shared.dataset import Pair, open_picture, square
from shared.diffusion.model import Conditioning, Model

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Example:
    """One training pair, encoded, on the CPU in fp32."""

    mean: Tensor
    """Of the VAE's posterior, (C, H, W), not scaled."""
    std: Tensor
    """Likewise."""
    conditioning: Conditioning
    """Of the caption, without the batch dimension: encoder_hidden_states (L, D), …"""

    def sample_latents(self, generator: torch.Generator) -> Tensor:
        """A draw from the VAE's posterior, not scaled. (C, H, W)."""
        return self.mean + self.std * torch.randn(self.mean.shape, generator=generator)


@torch.no_grad()
def encode(pairs: list[Pair], model: Model, resolution: int, progress: Progress) -> list[Example]:
    """Encode every pair on the encoders' device; equal captions share one embedding.

    progress: called with (done, total) after each picture.
    """
    texts: dict[str, Conditioning] = {}
    examples: list[Example] = []
    for pair in pairs:
        if pair.caption not in texts:
            encoded = model.encode_captions([pair.caption])
            texts[pair.caption] = {name: value[0].float().cpu() for name, value in encoded.items()}
        mean, std = model.encode_pixels(_pixels(pair, resolution))
        examples.append(Example(mean[0], std[0], texts[pair.caption]))
        progress(len(examples), len(pairs))
    return examples


def _pixels(pair: Pair, resolution: int) -> Tensor:
    """(1, 3, resolution, resolution) in −1…1."""
    picture = np.asarray(square(open_picture(pair.image), resolution), dtype=np.float32)
    return torch.from_numpy(picture / 127.5 - 1.0).permute(2, 0, 1).unsqueeze(0)
