"""What a task is to the programs that train and evaluate it: a few small protocols, and nothing else.

A task is a package: `training.prepare` is a `Prepare`, to be imported by the trainer alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from shared.config.schema import Config
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import Value

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

Progress = Callable[[int, int], None]
"""Told how many are done, of how many."""


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that learn at one rate."""

    parameters: list[nn.Parameter]
    learning_rate: float
    """Where the schedule is 1. The first group's is the one that tables show."""


class Training(Protocol):
    """What learns in one process, on its device: a network, the examples it learns from, and its files."""

    @property
    def module(self) -> nn.Module:
        """Everything that computes a loss, in one module: accelerate wraps it. What asks for a gradient learns."""
        ...

    @property
    def groups(self) -> Sequence[ParameterGroup]:
        """The parameters that learn, each in one group."""
        ...

    @property
    def epoch_length(self) -> int:
        """Examples of one pass over the training data."""
        ...

    @property
    def notices(self) -> Sequence[str]:
        """What a person should know before training begins."""
        ...

    @property
    def details(self) -> Mapping[str, Any]:
        """What a snapshot's manifest says of it, beside epoch, loss and learning rate."""
        ...

    def loss(self, module: nn.Module, positions: range) -> Tensor:
        """The mean loss of the examples at these positions of the endless stream. A scalar with a graph.

        module: as accelerate has wrapped it. What is drawn depends on (seed, position) alone, but for dropout.
        """
        ...

    def validate(self, module: nn.Module, batch_size: int, progress: Progress) -> Mapping[str, Value] | None:
        """Columns of validation.csv, the same on every process; None: nothing is to be measured.

        batch_size: examples that fit into memory at once. No random state is read or advanced.
        """
        ...

    def weights(self) -> dict[str, Tensor]:
        """A copy of what learns as it is now, on the CPU."""
        ...

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Put back what `weights` gave.

        Raises:
            ModelError: these are another network's.
        """
        ...

    def write(self, folder: Path, weights: dict[str, Tensor], step: int) -> None:
        """Fill a snapshot's folder with the files that ship. Called by a thread of its own, while training goes on."""
        ...


class Prepare(Protocol):
    """From a run's settings to what learns."""

    def __call__(
        self, run: RunDir, config: Config, accelerator: Accelerator, progress: Progress, *, begins: bool
    ) -> Training:
        """Load, encode, attach. progress: of what takes long. begins: there is no checkpoint to restore.

        Raises:
            ConfigError, DataError, ModelError, DeviceError: it cannot be trained like this.
        """
        ...
