"""Flow matching (Lipman et al. 2023) on straight paths: the model predicts noise − latents, its time is σ in 0…1.

Shapes: B batch, C latent channels, H W latent height and width.
"""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from torch import Tensor

from shared.config.schema import TrainConfig
from shared.errors import ConfigError
from tasks.text_to_image.objectives import noise

NUM_TIMESTEPS = 1000
"""What `train.min_timestep` and `train.max_timestep` count σ in."""
SAMPLERS = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
"""Others accept a flow model's configuration in silence, and take it for one that predicts noise."""


class FlowMatching:
    """The objective of SD 3.5, FLUX, Qwen-Image and Z-Image."""

    prediction_type = "flow"

    @property
    def header(self) -> dict[str, str]:
        return {"modelspec.prediction_type": self.prediction_type}

    @property
    def description(self) -> dict[str, Any]:
        return {"prediction_type": self.prediction_type}

    def require(self, settings: TrainConfig) -> None:
        """Any range of timesteps has noise levels in it."""

    def notices(self, settings: TrainConfig) -> tuple[str, ...]:
        return ("train.snr_gamma has no effect: flow matching has no SNR",) if settings.snr_gamma else ()

    def sample_noise(self, shape: tuple[int, ...], generator: torch.Generator, settings: TrainConfig) -> Tensor:
        return noise.sample_noise(shape, generator, settings)

    def sample_timestep(self, generator: torch.Generator, settings: TrainConfig) -> Tensor:
        """σ, uniform in the trained range. A scalar, fp32."""
        first, last = _trained(settings)
        return first + (last - first) * torch.rand((), generator=generator)

    def midpoints(self, count: int, settings: TrainConfig) -> Tensor:
        first, last = _trained(settings)
        return first + (last - first) * (torch.arange(count) + 0.5) / count

    def add_noise(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        sigmas_B111 = timesteps_B.view(-1, 1, 1, 1)
        return (1 - sigmas_B111) * latents_BCHW + sigmas_B111 * noise_BCHW

    def target(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        return noise_BCHW - latents_BCHW

    def weights(self, timesteps_B: Tensor, settings: TrainConfig) -> Tensor | None:
        return None

    def sampler(self, own: Any, name: str) -> Any:
        if name == "own":
            return own
        if name not in SAMPLERS:
            raise ConfigError(
                f"evaluation.scheduler is {name}, which cannot sample a flow-matching model",
                'set evaluation.scheduler = "own"',
            )
        return getattr(diffusers, name).from_config(own.config)


def _trained(settings: TrainConfig) -> tuple[float, float]:
    """The lowest and the highest σ."""
    return settings.min_timestep / NUM_TIMESTEPS, (settings.max_timestep + 1) / NUM_TIMESTEPS
