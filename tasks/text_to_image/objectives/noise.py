"""The noise of one picture: white, with an offset, or pyramid noise.

Shapes: C latent channels, H W latent height and width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from shared.config.schema import TrainConfig


def sample_noise(shape: tuple[int, ...], generator: torch.Generator, settings: TrainConfig) -> Tensor:
    """The noise of one picture. shape: (C, H, W); white, unless settings add offset or pyramid noise."""
    noise_CHW = torch.randn(shape, generator=generator)
    if settings.multires_noise_iterations:
        noise_CHW = _pyramid(noise_CHW, generator, settings.multires_noise_iterations, settings.multires_noise_discount)
    if settings.noise_offset:
        noise_CHW = noise_CHW + settings.noise_offset * torch.randn(shape[0], 1, 1, generator=generator)
    return noise_CHW


def _pyramid(noise_CHW: Tensor, generator: torch.Generator, iterations: int, discount: float) -> Tensor:
    """Add layers of coarser noise (Whitaker 2023, "Multi-resolution noise for diffusion model training"); variance 1.

    Layer i is drawn r^i times smaller, r uniform in 2…4, enlarged bilinearly, and weighted by discount^i; a layer of
    one row or column is the last. The sum is divided by its expected standard deviation. kohya divides by the measured
    one of the batch, so that a picture's noise depends on the others, and adds one more layer of white noise.
    """
    _, height, width = noise_CHW.shape
    variance = 1.0
    for layer in range(1, iterations + 1):
        factor = (2 + 2 * torch.rand((), generator=generator).item()) ** layer
        rows, columns = max(1, int(height / factor)), max(1, int(width / factor))
        coarse_1CRC = torch.randn(1, noise_CHW.shape[0], rows, columns, generator=generator)
        weight = discount**layer
        enlarged_1CHW = F.interpolate(coarse_1CRC, size=(height, width), mode="bilinear")
        noise_CHW = noise_CHW + weight * enlarged_1CHW[0]
        variance += weight**2 * _variance_kept(rows, height) * _variance_kept(columns, width)
        if rows == 1 or columns == 1:
            break
    return noise_CHW / variance**0.5


def _variance_kept(few: int, many: int) -> float:
    """Mean variance of white noise enlarged linearly along one axis; interpolation averages and reduces it."""
    weights_1FM = F.interpolate(torch.eye(few).unsqueeze(0), size=many, mode="linear")
    return weights_1FM.square().sum(dim=1).mean().item()
