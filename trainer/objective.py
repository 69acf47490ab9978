"""The diffusion objective: what the UNet should predict, and how much each timestep counts.

Shapes: B batch, C latent channels, H W latent height and width.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch import Tensor

from shared.errors import ModelError


def target(scheduler: DDPMScheduler, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
    """What the UNet should predict: the noise, or v (Salimans & Ho 2022, appendix D). (B, C, H, W)."""
    if scheduler.config["prediction_type"] == "epsilon":
        return noise_BCHW
    if scheduler.config["prediction_type"] == "v_prediction":
        return scheduler.get_velocity(latents_BCHW, noise_BCHW, cast("torch.IntTensor", timesteps_B))
    raise ModelError(
        f"the model predicts {scheduler.config['prediction_type']!r}", "epsilon and v_prediction models can be trained"
    )


def min_snr_weights(snr_B: Tensor, gamma: float, prediction_type: str) -> Tensor:
    """Min-SNR loss weight (Hang et al. 2023, eq. 5). snr_B: (B,), >= 0; returns (B,).

    min(SNR, gamma) / SNR when noise is predicted; for v the loss already carries SNR + 1, hence the other divisor.
    At SNR 0 (zero terminal SNR) noise prediction has no limit of its own: its weight is 1 there.
    """
    capped_B = snr_B.clamp(max=gamma)
    if prediction_type == "v_prediction":
        return capped_B / (snr_B + 1)
    return torch.where(snr_B > 0, capped_B / snr_B.clamp(min=torch.finfo(snr_B.dtype).tiny), 1.0)


def loss(
    model_pred_BCHW: Tensor, target_BCHW: Tensor, timesteps_B: Tensor, scheduler: DDPMScheduler, snr_gamma: float | None
) -> Tensor:
    """Mean squared error in fp32, weighted by timestep. A scalar."""
    error_B = F.mse_loss(model_pred_BCHW.float(), target_BCHW.float(), reduction="none").mean(dim=(1, 2, 3))
    if snr_gamma is None:
        return error_B.mean()
    snr_B = compute_snr(scheduler, timesteps_B)
    return (error_B * min_snr_weights(snr_B, snr_gamma, scheduler.config["prediction_type"])).mean()
