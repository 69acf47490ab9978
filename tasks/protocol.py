"""What a task is to the programs that train and evaluate it: a few small protocols, and nothing else.

A task is a package of three parts: `task`, which commands ask (`shared.launch.task`), `training`, which the trainer
asks, and `evaluation`, which the evaluator asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from shared.config.schema import Config
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.records import Anchors, EvaluationResult, Sample
from shared.run_folder.run_dir import ResultKind, RunDir
from shared.run_folder.tables import Value

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, device, nn

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
        """What the user should know before training starts."""
        ...

    @property
    def memory_hint(self) -> str:
        """How to make a single example fit into memory; it starts with a verb."""
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


class TrainingPart(Protocol):
    """The module `training` of a task."""

    def prepare(
        self, run: RunDir, config: Config, accelerator: Accelerator, progress: Progress, *, begins: bool
    ) -> Training:
        """Load, encode, attach. progress: of what takes long. begins: there is no checkpoint to restore.

        Raises:
            ConfigError, DataError, ModelError, DeviceError: it cannot be trained like this.
        """
        ...


@dataclass
class EvaluationOutput:
    """What one evaluation has come to so far. All of it is published, also where the evaluation fails afterwards."""

    samples: list[Sample] = field(default_factory=list)
    """Numbers by prompt and seed, or by whatever is compared with step 0 in pairs."""
    anchors: dict[str, Anchors] = field(default_factory=dict)
    """Loss → the ends of its scale; at step 0 only."""
    missing: dict[str, str] = field(default_factory=dict)
    """Column → why it has no value in some sample."""
    encoders: dict[str, Any] = field(default_factory=dict)
    """Column → what computed it."""
    memory: dict[str, float] = field(default_factory=dict)
    """MiB, by `tasks.devices.memory`, where it is at its highest."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Stage → wall time."""
    write: Callable[[Path, EvaluationResult], None] = lambda folder, result: None
    """Puts the files that belong to the result beside it."""

    @contextmanager
    def timed(self, stage: str) -> Generator[None]:
        """Note the wall time of a stage."""
        started = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - started, 3)


class Evaluation(Protocol):
    """What evaluates snapshots in one process: a resident model, and what it is asked."""

    @property
    def device(self) -> device:
        """Whose memory it takes."""
        ...

    def swap(self, snapshot: Path | None) -> str:
        """Take up the snapshot in this folder, None: what training begins from; returns the snapshot's digest.

        Raises:
            ModelError, RunFolderError: the file is damaged, or does not fit.
        """
        ...

    def evaluate(self, step: int, kind: ResultKind, output: EvaluationOutput) -> None:
        """Evaluate what was swapped in; the same in every process and every attempt.

        Raises:
            DarkroomError, RuntimeError, ValueError: it cannot be evaluated; what was found so far counts.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """How it evaluates: device, precision, settings that results depend on."""
        ...

    def further(self) -> Evaluation:
        """The same model, asked other things: finalists are evaluated again by it."""
        ...

    def asked(self, prompts: Sequence[str]) -> Evaluation | None:
        """The same model, asked a person's own prompts; None: it takes none."""
        ...


class EvaluationPart(Protocol):
    """The module `evaluation` of a task."""

    def descriptions(self) -> MetricDescriptions:
        """What its numbers mean: header, composite, captions and charts follow from it."""
        ...

    def build(self, run: RunDir, config: Config, device: device) -> Evaluation:
        """Load everything that evaluations of this run need.

        Raises:
            ConfigError, DataError, RunFolderError, ModelError, DeviceError: this run cannot be evaluated here.
        """
        ...
