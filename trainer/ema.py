"""An exponential moving average of the adapter (`train.ema_decay`): published, measured and evaluated, never trained
on.

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
    """Of these parameters, fp32, where they are."""

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self._parameters = parameters
        self._ema = EMAModel(parameters, decay=decay, foreach=True)

    @property
    def num_updates(self) -> int:
        """Updates it is of."""
        return self._ema.optimization_step

    def update(self) -> None:
        """Take up the parameters after an update."""
        self._ema.step(self._parameters)

    def restart(self, num_updates: int) -> None:
        """Go on from an average over so many updates, which the parameters hold."""
        self._ema.shadow_params = [parameter.detach().clone() for parameter in self._parameters]
        self._ema.optimization_step = num_updates

    @contextmanager
    def shown(self) -> Generator[None]:
        """The parameters hold the average; those that learn are back afterwards, bit for bit."""
        learning = [parameter.detach().clone() for parameter in self._parameters]
        self._ema.copy_to(self._parameters)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self._parameters, learning, strict=True):
                    parameter.copy_(value)
