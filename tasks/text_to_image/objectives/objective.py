"""A training objective: how noise is added to latents, and what the denoiser should predict.

The training loss, the held-out loss and the sampler of previews use only this protocol; a model's family selects the
objective. Each objective defines its timesteps: an integer for `ddpm`, the noise level σ for flow matching.

Shapes: B batch, C latent channels, H W latent height and width.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from shared.config.schema import TrainConfig


class Objective(Protocol):
    """One way to train on noisy latents.

    Every draw takes the generator of one picture, so that its noise depends on (seed, position) only, not on the other
    pictures of the batch.
    """

    @property
    def prediction_type(self) -> str:
        """What is predicted, by diffusers' name."""
        ...

    def header(self, settings: TrainConfig) -> dict[str, str]:
        """Entries for a LoRA file's header: `modelspec.prediction_type`, and kohya's `ss_…`."""
        ...

    @property
    def description(self) -> dict[str, Any]:
        """Entries for a result: the prediction type and everything else that changes pictures."""
        ...

    def require(self, settings: TrainConfig) -> None:
        """Raises ModelError if the model cannot be trained with these settings."""
        ...

    def notices(self, settings: TrainConfig) -> tuple[str, ...]:
        """Sentences for the user about these settings with this objective."""
        ...

    def sample_noise(self, shape: tuple[int, ...], generator: torch.Generator, settings: TrainConfig) -> Tensor:
        """The noise of one picture. shape: (C, H, W)."""
        ...

    def sample_timestep(self, shape: tuple[int, ...], generator: torch.Generator, settings: TrainConfig) -> Tensor:
        """A timestep to train on. shape: of the picture's latents, (C, H, W). A scalar."""
        ...

    def midpoints(self, count: int, settings: TrainConfig) -> Tensor:
        """The midpoints of `count` strata of the trained timesteps, ascending. (count,)."""
        ...

    def add_noise(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """The noisy latents: the denoiser's input."""
        ...

    def target(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """What the denoiser should predict."""
        ...

    def weights(self, timesteps_B: Tensor, settings: TrainConfig) -> Tensor | None:
        """The weight of each timestep's loss, (B,); None: all weights are 1."""
        ...

    def sampler(self, own: Any, name: str) -> Any:
        """The scheduler of diffusers for sampling previews. own: the model's; name: a class, or `own`.

        Raises:
            ConfigError: the scheduler does not suit this objective.
        """
        ...
