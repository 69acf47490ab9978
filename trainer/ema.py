"""An exponential moving average of the weights (`train.ema_decay`): validated, published and evaluated in place of the
trained weights.

diffusers' `EMAModel` computes it. Early in training the decay is smaller: (1 + n) / (10 + n) at the n-th update after
the first, up to `train.ema_decay`.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from diffusers.training_utils import EMAModel
from torch import nn


class Average:
    """The moving average of these parameters, in fp32, on their device."""

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self._parameters = parameters
        self._ema = EMAModel(parameters, decay=decay, foreach=True)

    @property
    def num_updates(self) -> int:
        """The number of updates that the average covers."""
        return self._ema.optimization_step

    def update(self) -> None:
        """Include the parameters after an update."""
        self._ema.step(self._parameters)

    def restart(self, num_updates: int) -> None:
        """Continue from an average over `num_updates` updates, which the parameters hold at present."""
        self._ema.shadow_params = [parameter.detach().clone() for parameter in self._parameters]
        self._ema.optimization_step = num_updates

    @contextmanager
    def shown(self) -> Generator[None]:
        """Put the average into the parameters; afterwards restore the trained values, bit for bit."""
        trained = [parameter.detach().clone() for parameter in self._parameters]
        self._ema.copy_to(self._parameters)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self._parameters, trained, strict=True):
                    parameter.copy_(value)
