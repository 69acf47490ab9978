"""What a training objective is: how noise is put into latents, and what the denoiser should say of them.

The trainer's loss, the held-out loss and the sampler of previews ask it alone; which one a model learns, its family
says. A timestep is the objective's own: an integer for `ddpm`, the noise level σ for flow matching.

Shapes: B batch, C latent channels, H W latent height and width.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from shared.config.schema import TrainConfig


class Objective(Protocol):
    """One way to learn from noise.

    Every draw takes the generator of one picture, so that its noise depends on (seed, position) alone: not on the
    batch it happens to be in.
    """

    @property
    def prediction_type(self) -> str:
        """What is predicted, as diffusers names it."""
        ...

    @property
    def header(self) -> dict[str, str]:
        """What a LoRA file's header says of it: `modelspec.prediction_type`, and what kohya names `ss_…`."""
        ...

    @property
    def description(self) -> dict[str, Any]:
        """What a result says of it: what is predicted, and what else changes pictures."""
        ...

    def require(self, settings: TrainConfig) -> None:
        """Raises ModelError if the model cannot be trained with these settings."""
        ...

    def notices(self, settings: TrainConfig) -> tuple[str, ...]:
        """What a person should know of how these settings and this objective go together."""
        ...

    def sample_noise(self, shape: tuple[int, ...], generator: torch.Generator, settings: TrainConfig) -> Tensor:
        """The noise of one picture. shape: (C, H, W)."""
        ...

    def sample_timestep(self, generator: torch.Generator, settings: TrainConfig) -> Tensor:
        """A timestep to train on. A scalar."""
        ...

    def midpoints(self, count: int, settings: TrainConfig) -> Tensor:
        """The middles of so many strata of the trained timesteps, ascending. (count,)."""
        ...

    def add_noise(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """The noisy latents that the denoiser is shown."""
        ...

    def target(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """What the denoiser should predict."""
        ...

    def weights(self, timesteps_B: Tensor, settings: TrainConfig) -> Tensor | None:
        """How much the loss of each timestep counts, (B,); None: all alike."""
        ...

    def sampler(self, own: Any, name: str) -> Any:
        """The scheduler of diffusers that previews are sampled with. own: the model's; name: a class, or `own`.

        Raises:
            ConfigError: that sampler cannot sample what this objective teaches.
        """
        ...
