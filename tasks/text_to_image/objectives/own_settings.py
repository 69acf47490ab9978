"""Settings that only one kind of objective has, told without torch: on a model of the other kind they are refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from shared.config.schema import Config

Kind = Literal["ddpm", "flow"]
LEARNS: dict[Kind, str] = {"ddpm": "learns to remove noise on DDPM's timesteps", "flow": "learns by flow matching"}
"""What a family of this kind does, in words."""


@dataclass(frozen=True)
class OwnSetting:
    """A setting of one kind of objective."""

    kind: Kind
    key: str
    reason: str
    """Why the other kind has no use for it, as what stands after "the model"."""
    unset: tuple[Any, ...]
    """Values that ask for nothing; the first is the default."""


OWN_SETTINGS = (
    OwnSetting("ddpm", "train.snr_gamma", "has no signal-to-noise ratio of betas to weigh by", ("auto", None)),
    OwnSetting("ddpm", "train.zero_terminal_snr", "has no betas, and ends in pure noise anyway", (False,)),
    OwnSetting(
        "ddpm", "train.noise_offset", "is drawn from white noise only, and would learn from other noise", (0.0,)
    ),
    OwnSetting(
        "ddpm",
        "train.multires_noise_iterations",
        "is drawn from white noise only, and would learn from other noise",
        (0,),
    ),
    OwnSetting("ddpm", "model.prediction_type", "always predicts the velocity", ("auto",)),
    OwnSetting("flow", "train.timestep_sampling", "has whole timesteps, drawn uniformly", ("auto",)),
    OwnSetting("flow", "train.timestep_shift", "has whole timesteps, drawn uniformly", ("auto",)),
    OwnSetting("flow", "train.logit_mean", "has whole timesteps, drawn uniformly", (0.0,)),
    OwnSetting("flow", "train.logit_std", "has whole timesteps, drawn uniformly", (1.0,)),
    OwnSetting("flow", "train.mode_scale", "has whole timesteps, drawn uniformly", (1.29,)),
    OwnSetting("flow", "train.weighting_scheme", "has timesteps weighted by train.snr_gamma", ("none",)),
)


def foreign_settings(config: Config, kind: Kind) -> Iterator[tuple[OwnSetting, Any]]:
    """The settings of the other kinds that ask for something, with their values."""
    for setting in OWN_SETTINGS:
        value = config.value(setting.key)
        if setting.kind != kind and value not in setting.unset:
            yield setting, value
