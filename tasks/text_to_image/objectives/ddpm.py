"""Denoising diffusion (Ho et al. 2020) on DDPM's discrete timesteps: the model predicts the noise, or v.

Shapes: B batch, C latent channels, H W latent height and width.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import diffusers
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.training_utils import compute_snr
from torch import Tensor

from shared.config.schema import ModelConfig, TrainConfig
from shared.errors import ModelError
from tasks.text_to_image.models.noise_schedule import NoiseSchedule, PredictionType, of_file, of_scheduler
from tasks.text_to_image.objectives import noise

SNR_GAMMA = 5.0
"""What `auto` means for `train.snr_gamma`: the paper's value (Hang et al. 2023)."""


class DDPM:
    """The objective of Stable Diffusion 1.x to XL."""

    def __init__(self, schedule: NoiseSchedule, config: Mapping[str, Any]) -> None:
        """schedule: the run's, which may differ from the pipeline's scheduler. config: that scheduler's, with betas."""
        self.schedule = schedule
        self._config = config

    @cached_property
    def scheduler(self) -> DDPMScheduler:
        """The training schedule: betas and prediction type."""
        return cast("DDPMScheduler", self._on_schedule(DDPMScheduler, self._config))

    @property
    def prediction_type(self) -> str:  # noqa: D102
        return self.schedule.prediction_type

    def header(self, settings: TrainConfig) -> dict[str, str]:  # noqa: D102
        predicted = self.schedule.prediction_type
        return {
            "modelspec.prediction_type": "v" if predicted == "v_prediction" else predicted,
            "ss_zero_terminal_snr": str(self.schedule.zero_terminal_snr),
            "ss_min_snr_gamma": str(snr_gamma(settings)),
        }

    @property
    def description(self) -> dict[str, Any]:  # noqa: D102
        return {
            "rescale_betas_zero_snr": self.schedule.zero_terminal_snr,
            "prediction_type": self.schedule.prediction_type,
        }

    def require(self, settings: TrainConfig) -> None:
        """Raises ModelError if the model has none of the timesteps to train on."""
        last = self._num_timesteps - 1
        if settings.min_timestep > last:
            raise ModelError(
                f"train.min_timestep is {settings.min_timestep}, the model has timesteps 0 to {last}",
                "lower train.min_timestep",
            )

    def notices(self, settings: TrainConfig) -> tuple[str, ...]:  # noqa: D102
        if self.schedule.zero_terminal_snr and snr_gamma(settings) is not None:
            return (
                "the model has zero terminal SNR, but min-SNR gives its last timestep no weight; "
                "train.snr_gamma = false trains it too",
            )
        return ()

    def sample_noise(self, shape: tuple[int, ...], generator: torch.Generator, settings: TrainConfig) -> Tensor:
        """The noise of one picture. shape: (C, H, W); white, unless settings add offset or pyramid noise."""
        return noise.sample_noise(shape, generator, settings)

    def sample_timestep(self, shape: tuple[int, ...], generator: torch.Generator, settings: TrainConfig) -> Tensor:
        """A timestep, uniform in min_timestep…max_timestep, limited to those of the model. A scalar, int64."""
        first, last = self._trained(settings)
        return torch.randint(first, last + 1, (), generator=generator)

    def midpoints(self, count: int, settings: TrainConfig) -> Tensor:
        """The middle of each stratum of the trained timesteps, rounded down. (count,), int64, ascending."""
        first, last = self._trained(settings)
        width = last + 1 - first
        return torch.tensor([first + (2 * stratum + 1) * width // (2 * count) for stratum in range(count)])

    def add_noise(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:  # noqa: D102
        return self.scheduler.add_noise(latents_BCHW, noise_BCHW, cast("torch.IntTensor", timesteps_B))

    def target(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """The noise, or v (Salimans & Ho 2022, appendix D). (B, C, H, W)."""
        if self.schedule.prediction_type == "epsilon":
            return noise_BCHW
        return self.scheduler.get_velocity(latents_BCHW, noise_BCHW, cast("torch.IntTensor", timesteps_B))

    def weights(self, timesteps_B: Tensor, settings: TrainConfig) -> Tensor | None:
        """Min-SNR weights, unless `train.snr_gamma` is off."""
        gamma = snr_gamma(settings)
        if gamma is None:
            return None
        snr_B = compute_snr(self.scheduler, timesteps_B)
        return min_snr_weights(snr_B, gamma, self.schedule.prediction_type)

    def sampler(self, own: Any, name: str) -> Any:
        """A scheduler with the run's noise schedule; every value of `evaluation.scheduler` is possible.

        At zero terminal SNR, sampling starts at the last timestep (Lin et al. 2024, §3.3); a scheduler that does not
        support it is replaced by DDIM. Latents are never clipped.
        """
        kind = type(own) if name == "own" else getattr(diffusers, name)
        spacing: dict[str, Any] = {}
        if self.schedule.zero_terminal_snr:
            kind = kind if "rescale_betas_zero_snr" in inspect.signature(kind).parameters else DDIMScheduler
            spacing = {"timestep_spacing": "trailing"}
        return self._on_schedule(kind, own.config, **spacing)

    def _on_schedule(self, kind: Any, config: Mapping[str, Any], **settings: Any) -> Any:
        """A scheduler of this class with the run's noise schedule and otherwise the values of `config`."""
        settings |= {"prediction_type": self.schedule.prediction_type, "clip_sample": False}
        settings["rescale_betas_zero_snr"] = self.schedule.zero_terminal_snr
        arguments = inspect.signature(kind).parameters
        return kind.from_config(config, **{name: value for name, value in settings.items() if name in arguments})

    @property
    def _num_timesteps(self) -> int:
        return int(self.scheduler.config["num_train_timesteps"])

    def _trained(self, settings: TrainConfig) -> tuple[int, int]:
        """The first and the last timestep to train on."""
        return settings.min_timestep, min(settings.max_timestep, self._num_timesteps - 1)


def of_model(
    pipeline: Any,
    file: Path | None,
    settings: ModelConfig,
    measured: PredictionType | None,
    *,
    zero_terminal_snr: bool,
) -> tuple[DDPM, tuple[str, ...]]:
    """A model's noise schedule: from the setting, else from its own files, else as diffusers assumes.

    file: the model's file, if it is a single one. measured: the prediction type that its weights show, if any. Also
    returns sentences for the user.

    Raises:
        ModelError: models of this kind cannot be trained.
    """
    scheduler = of_scheduler(pipeline.scheduler.config, settings.path, type(pipeline.scheduler).__name__)
    stated = of_file(file) if file else scheduler
    predicted = stated.prediction_type or measured or scheduler.prediction_type
    if settings.prediction_type != "auto":
        predicted = settings.prediction_type
    zero_snr_stated = stated.zero_terminal_snr or scheduler.zero_terminal_snr
    schedule = NoiseSchedule.of(predicted or "epsilon", zero_snr_stated)
    notices = stated.notices
    if stated.prediction_type not in (None, predicted):
        notices += (
            f"model.prediction_type is {predicted}, but the model's own files say {stated.prediction_type}: "
            "the setting is used; 'auto' would use the model's value",
        )
    if zero_snr_stated and not schedule.zero_terminal_snr:
        notices += (
            "the model's own files ask for zero terminal SNR, which works only for a model that predicts v: "
            "it is trained without it",
        )
    of_run = schedule.ending_in_pure_noise() if zero_terminal_snr else schedule
    return DDPM(of_run, pipeline.scheduler.config), notices


def snr_gamma(settings: TrainConfig) -> float | None:
    """Gamma of min-SNR; None: it is off.

    Min-SNR hardly weighs the noisiest timesteps. A fresh denoiser learns there what the prompt asks for.
    """
    if settings.snr_gamma == "auto":
        return None if settings.what == "scratch" else SNR_GAMMA
    return settings.snr_gamma


def min_snr_weights(snr_B: Tensor, gamma: float, prediction_type: str) -> Tensor:
    """Min-SNR loss weight (Hang et al. 2023, eq. 5). snr_B: (B,), >= 0; returns (B,).

    min(SNR, gamma) / SNR if noise is predicted; for v the loss already contains the factor SNR + 1, hence the other
    divisor. At SNR 0 (zero terminal SNR) the weight for noise prediction is defined as 1.
    """
    capped_B = snr_B.clamp(max=gamma)
    if prediction_type == "v_prediction":
        return capped_B / (snr_B + 1)
    return torch.where(snr_B > 0, capped_B / snr_B.clamp(min=torch.finfo(snr_B.dtype).tiny), 1.0)
