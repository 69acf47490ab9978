"""What of a model is trained: a LoRA, or every weight of the denoiser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from tasks.protocol import ParameterGroup

State = dict[str, Tensor]
"""Trained weights by the keys of a snapshot's file."""


class Trained(Protocol):
    """The trained weights of a model, in its parts."""

    @property
    def memory_hint(self) -> str:
        """How to make a single picture fit into memory; it starts with a verb."""
        ...

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The parts of the model with trained weights, by the pipeline's names."""
        ...

    @property
    def groups(self) -> list[ParameterGroup]:
        """The trained parameters, each in one group."""
        ...

    @property
    def details(self) -> Mapping[str, Any]:
        """For a snapshot's manifest."""
        ...

    def state(self) -> State:
        """A copy of the trained weights on the host, fp32."""
        ...

    def restore(self, weights: State) -> None:
        """Put back weights that `state` returned.

        Raises:
            ModelError: they are of something else than the run's settings describe.
        """
        ...

    def write(self, folder: Path, weights: State, step: int) -> None:
        """Write a snapshot's files, from a background thread."""
        ...


class ToTrain(Protocol):
    """What will be trained of a model that is loaded. What it needs beside the model has been checked."""

    def attach(self, num_pictures: int) -> Trained:
        """Make it trainable, once everything is encoded. num_pictures: training pictures, each counted once."""
        ...
