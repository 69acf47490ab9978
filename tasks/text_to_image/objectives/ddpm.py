"""The diffusion objective: the noise, what the denoiser should predict, how much each timestep counts.

Every draw takes the generator of one picture, so that its noise depends on (seed, position) alone: not on the batch it
happens to be in.

Shapes: B batch, C latent channels, H W latent height and width.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch import Tensor

from shared.config.schema import TrainConfig
from shared.errors import ModelError
from shared.models.noise_schedule import NoiseSchedule


def require_timesteps(scheduler: DDPMScheduler, settings: TrainConfig) -> None:
    """Raises ModelError if no timestep of the model is left to train on."""
    if settings.min_timestep >= scheduler.config["num_train_timesteps"]:
        raise ModelError(
            f"train.min_timestep is {settings.min_timestep}, the model has timesteps "
            f"0 to {scheduler.config['num_train_timesteps'] - 1}",
            "lower train.min_timestep",
        )


def notices(schedule: NoiseSchedule, settings: TrainConfig) -> tuple[str, ...]:
    """What a person should know of how this objective treats the model's timesteps."""
    if schedule.zero_terminal_snr and settings.snr_gamma is not None:
        return (
            "the model has zero terminal SNR, and min-SNR gives its last timestep no weight: "
            "train.snr_gamma = false lets it learn there",
        )
    return ()


def sample_noise(shape: tuple[int, ...], generator: torch.Generator, settings: TrainConfig) -> Tensor:
    """The noise of one picture. shape: (C, H, W); white, unless settings add offset or pyramid noise."""
    noise_CHW = torch.randn(shape, generator=generator)
    if settings.multires_noise_iterations:
        noise_CHW = _pyramid(noise_CHW, generator, settings.multires_noise_iterations, settings.multires_noise_discount)
    if settings.noise_offset:
        noise_CHW = noise_CHW + settings.noise_offset * torch.randn(shape[0], 1, 1, generator=generator)
    return noise_CHW


def _pyramid(noise_CHW: Tensor, generator: torch.Generator, iterations: int, discount: float) -> Tensor:
    """Add ever coarser noise (Whitaker 2023, "Multi-resolution noise for diffusion model training"); variance 1.

    Layer i is drawn r^i times smaller, r uniform in 2…4, enlarged bilinearly, and weighted by discount^i; a layer of
    one row or column is the last. The sum is divided by its expected standard deviation. kohya divides by the
    batch's measured one, which ties a picture's noise to its neighbours, and has one more layer of white noise in it.
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
    """Mean variance of white noise enlarged linearly along one axis: interpolation averages, and so loses some."""
    weights_1FM = F.interpolate(torch.eye(few).unsqueeze(0), size=many, mode="linear")
    return weights_1FM.square().sum(dim=1).mean().item()


def sample_timestep(generator: torch.Generator, settings: TrainConfig, num_train_timesteps: int) -> Tensor:
    """A timestep, uniform in min_timestep…max_timestep as far as the model has them. A scalar, int64."""
    last = min(settings.max_timestep, num_train_timesteps - 1)
    return torch.randint(settings.min_timestep, last + 1, (), generator=generator)


def target(scheduler: DDPMScheduler, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
    """What the denoiser should predict: the noise, or v (Salimans & Ho 2022, appendix D). (B, C, H, W)."""
    if scheduler.config["prediction_type"] == "epsilon":
        return noise_BCHW
    return scheduler.get_velocity(latents_BCHW, noise_BCHW, cast("torch.IntTensor", timesteps_B))


def min_snr_weights(snr_B: Tensor, gamma: float, prediction_type: str) -> Tensor:
    """Min-SNR loss weight (Hang et al. 2023, eq. 5). snr_B: (B,), >= 0; returns (B,).

    min(SNR, gamma) / SNR when noise is predicted; for v the loss already carries SNR + 1, hence the other divisor.
    At SNR 0 (zero terminal SNR) noise prediction has no limit of its own: its weight is 1 there.
    """
    capped_B = snr_B.clamp(max=gamma)
    if prediction_type == "v_prediction":
        return capped_B / (snr_B + 1)
    return torch.where(snr_B > 0, capped_B / snr_B.clamp(min=torch.finfo(snr_B.dtype).tiny), 1.0)


def distance(model_pred_BCHW: Tensor, target_BCHW: Tensor, loss_type: str, huber_c: float) -> Tensor:
    """How far each value of a prediction is off, elementwise, in fp32. (B, C, H, W).

    `l2` is the squared error. `huber` is the pseudo-Huber distance 2c(√(e² + c²) − c): e² for e ≪ c, 2c|e| for e ≫ c;
    `smooth_l1` is that over c: e²/c, then 2|e|. Both as kohya and diffusers scale them (Khrapov et al. 2024, "Improving
    Diffusion Models's Data-Corruption Resistance using Scheduled Pseudo-Huber Loss"), with constant c.
    """
    squared_BCHW = F.mse_loss(model_pred_BCHW.float(), target_BCHW.float(), reduction="none")
    if loss_type == "l2":
        return squared_BCHW
    rounded_BCHW = 2 * (torch.sqrt(squared_BCHW + huber_c**2) - huber_c)
    return rounded_BCHW * huber_c if loss_type == "huber" else rounded_BCHW


def loss(
    model_pred_BCHW: Tensor,
    target_BCHW: Tensor,
    timesteps_B: Tensor,
    scheduler: DDPMScheduler,
    settings: TrainConfig,
    weights_B: Tensor | None = None,
    masks_BHW: Tensor | None = None,
) -> Tensor:
    """The mean distance, weighted by timestep. A scalar.

    weights_B: of each picture besides. masks_BHW: of each place, 0…1, raised to `unmasked_weight`. Both multiply, and
    the mean is over all pictures and places all the same: what counts has the gradient it has without a mask, and a
    small part of a picture does not weigh as much as a whole one.
    """
    distance_BCHW = distance(model_pred_BCHW, target_BCHW, settings.loss_type, settings.huber_c)
    if masks_BHW is not None:
        distance_BCHW = distance_BCHW * masks_BHW.clamp(min=settings.unmasked_weight).unsqueeze(1)
    distance_B = distance_BCHW.mean(dim=(1, 2, 3))
    if weights_B is not None:
        distance_B = distance_B * weights_B
    if settings.snr_gamma is None:
        return distance_B.mean()
    snr_B = compute_snr(scheduler, timesteps_B)
    return (distance_B * min_snr_weights(snr_B, settings.snr_gamma, scheduler.config["prediction_type"])).mean()
