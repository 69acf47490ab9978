"""Flow matching (Lipman et al. 2023) on straight paths: the model predicts noise − latents, its time is σ in 0…1.

σ is the share of noise: 0 is the picture, 1 is noise. It is drawn from a density, then shifted towards noise by
s·σ / (1 + (s − 1)·σ), as in Esser et al. 2024 ("Scaling Rectified Flow Transformers", eq. 23), then confined to the
trained range. Densities and weights are diffusers' own functions.

Shapes: B batch, C latent channels, H W latent height and width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from diffusers.training_utils import compute_density_for_timestep_sampling, compute_loss_weighting_for_sd3
from torch import Tensor

from shared.config.schema import TrainConfig
from shared.errors import ConfigError
from tasks.text_to_image.objectives import noise

NUM_TIMESTEPS = 1000
"""What `train.min_timestep` and `train.max_timestep` count σ in."""
LEAST_SIGMA = 1 / NUM_TIMESTEPS
"""Weights are those of at least this σ, the smallest of diffusers' schedulers: `sigma_sqrt` has no limit at 0."""

Density = Literal["uniform", "logit_normal", "mode"]
DENSITY_SETTINGS: dict[str, Density] = {"logit_mean": "logit_normal", "logit_std": "logit_normal", "mode_scale": "mode"}
"""Setting → the density that it belongs to."""


@dataclass(frozen=True)
class Usual:
    """What `auto` means for a family."""

    density: Density
    shift: float | Literal["resolution"]


class FlowMatching:
    """The objective of families whose scheduler is `FlowMatchEulerDiscreteScheduler`."""

    prediction_type = "flow"

    def __init__(self, scheduler: Mapping[str, Any], usual: Usual, patch: int = 2) -> None:
        """scheduler: the model's configuration. patch: latents along one side of a token."""
        self._scheduler, self._usual, self._patch = scheduler, usual, patch

    def header(self, settings: TrainConfig) -> dict[str, str]:
        """As musubi-tuner names them."""
        shift = self._shift_setting(settings)
        return {
            "ss_timestep_sampling": self._density(settings),
            "ss_discrete_flow_shift": shift if isinstance(shift, str) else f"{shift:g}",
            "ss_weighting_scheme": settings.weighting_scheme,
            "ss_logit_mean": f"{settings.logit_mean:g}",
            "ss_logit_std": f"{settings.logit_std:g}",
            "ss_mode_scale": f"{settings.mode_scale:g}",
        }

    @property
    def description(self) -> dict[str, Any]:  # noqa: D102
        return {"prediction_type": self.prediction_type}

    def require(self, settings: TrainConfig) -> None:
        """Any range of timesteps has noise levels in it."""

    def notices(self, settings: TrainConfig) -> tuple[str, ...]:
        """Settings of a density that is not the one used."""
        density = self._density(settings)
        return tuple(
            f"train.{key} has no effect: train.timestep_sampling is {density}"
            for key, own in DENSITY_SETTINGS.items()
            if own != density and getattr(settings, key) != TrainConfig.model_fields[key].default
        )

    def sample_noise(self, shape: tuple[int, ...], generator: torch.Generator, settings: TrainConfig) -> Tensor:
        """The noise of one picture. shape: (C, H, W); white: sampling begins from white noise."""
        return noise.sample_noise(shape, generator, settings)

    def sample_timestep(self, shape: tuple[int, ...], generator: torch.Generator, settings: TrainConfig) -> Tensor:
        """σ of one picture in the trained range. shape: of its latents, (C, H, W). A scalar, fp32."""
        drawn = compute_density_for_timestep_sampling(
            self._density(settings),
            1,
            settings.logit_mean,
            settings.logit_std,
            settings.mode_scale,
            generator=generator,
        )[0]
        first, last = _trained(settings)
        return first + (last - first) * shifted(drawn, self._shift(shape, settings))

    def midpoints(self, count: int, settings: TrainConfig) -> Tensor:
        """The middle of each stratum of the trained range of σ, in equal widths, however σ is drawn. (count,)."""
        first, last = _trained(settings)
        return first + (last - first) * (torch.arange(count) + 0.5) / count

    def add_noise(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:  # noqa: D102
        sigmas_B111 = timesteps_B.view(-1, 1, 1, 1)
        return (1 - sigmas_B111) * latents_BCHW + sigmas_B111 * noise_BCHW

    def target(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """The velocity of the straight path from picture to noise, the same at every σ. (B, C, H, W)."""
        return noise_BCHW - latents_BCHW

    def weights(self, timesteps_B: Tensor, settings: TrainConfig) -> Tensor | None:
        """Those of `train.weighting_scheme`."""
        if settings.weighting_scheme == "none":
            return None
        return compute_loss_weighting_for_sd3(settings.weighting_scheme, timesteps_B.clamp(min=LEAST_SIGMA))

    def sampler(self, own: Any, name: str) -> Any:
        """The model's own scheduler. diffusers' others accept its configuration and take it for one of noise."""
        if name != "own":
            raise ConfigError(
                f"evaluation.scheduler is {name}, which cannot sample a flow-matching model",
                'set evaluation.scheduler = "own"',
            )
        return own

    def _density(self, settings: TrainConfig) -> Density:
        return self._usual.density if settings.timestep_sampling == "auto" else settings.timestep_sampling

    def _shift_setting(self, settings: TrainConfig) -> float | Literal["resolution"]:
        chosen = settings.timestep_shift
        return self._usual.shift if chosen == "auto" else chosen

    def _shift(self, shape: tuple[int, ...], settings: TrainConfig) -> float:
        chosen = self._shift_setting(settings)
        if chosen != "resolution":
            return chosen
        tokens = shape[-2] * shape[-1] // self._patch**2
        return resolution_shift(tokens, self._scheduler)


def shifted(sigmas: Tensor, shift: float) -> Tensor:
    """Noise levels moved towards noise if shift > 1, towards the picture if shift < 1; 0 and 1 stay."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def resolution_shift(tokens: int, scheduler: Mapping[str, Any]) -> float:
    """The shift with which diffusers samples a picture of so many tokens under dynamic shifting.

    A line through the scheduler's two lengths and shifts, and its exponential; more tokens need more noise for the same
    loss of detail.
    """
    low, high = scheduler.get("base_image_seq_len", 256), scheduler.get("max_image_seq_len", 4096)
    least, most = (
        cast("float", scheduler.get(f"{name}_shift", usual)) for name, usual in (("base", 0.5), ("max", 1.15))
    )
    mu = least + (most - least) * (tokens - low) / (high - low)
    return mu if scheduler.get("time_shift_type") == "linear" else math.exp(mu)


def _trained(settings: TrainConfig) -> tuple[float, float]:
    """The lowest and the highest σ."""
    return settings.min_timestep / NUM_TIMESTEPS, (settings.max_timestep + 1) / NUM_TIMESTEPS
