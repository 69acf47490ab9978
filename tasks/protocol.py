"""The protocols through which the trainer and the evaluator use a task.

A task is a package with three modules: `task`, used by commands (`shared.launch.task`); `training`, used by the
trainer; and `evaluation`, used by the evaluator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from shared.config.schema import Config
from shared.publishing.pictures import Shown
from shared.publishing.publication import Publication, Request
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.records.evaluation_result import Anchors, EvaluationResult, Sample
from shared.run_folder.records.exhibit import Exhibit, Figure
from shared.run_folder.run_dir import ResultKind, RunDir
from shared.run_folder.tables import Value

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, device, nn

Progress = Callable[[int, int], None]
"""Called with (number done, total number)."""


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that are trained at one learning rate."""

    parameters: list[nn.Parameter]
    learning_rate: float
    """The peak rate, where the schedule is 1. Tables show the rate of the first group."""


@dataclass(frozen=True)
class HeldOutLosses:
    """What one validation has measured, the same on every process."""

    columns: Mapping[str, Value]
    """A row of validation.csv, without step and time; every row has the same columns."""
    held_out: Mapping[str, float] = field(default_factory=dict[str, float])
    """Example held out → its loss. Only with these is it tested whether the loss has risen."""
    probe: Mapping[str, float] = field(default_factory=dict[str, float])
    """Training example → its loss, of as many."""


class Training(Protocol):
    """Training in one process, on its device: a network, its training examples, and its files."""

    @property
    def module(self) -> nn.Module:
        """Everything that computes a loss, in one module, which accelerate wraps. Parameters with `requires_grad` are
        trained.
        """
        ...

    @property
    def groups(self) -> Sequence[ParameterGroup]:
        """The trained parameters, each in one group."""
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
        """Details for a snapshot's manifest, in addition to epoch, loss and learning rate."""
        ...

    def loss(self, module: nn.Module, positions: range) -> Tensor:
        """The mean loss of the examples at these positions of the endless stream. A scalar with a graph.

        module: the module wrapped by accelerate. Random numbers depend on (seed, position) only, except for dropout.
        """
        ...

    def validate(self, module: nn.Module, batch_size: int, progress: Progress) -> HeldOutLosses | None:
        """The held-out losses, the same on every process; None if nothing is measured.

        batch_size: examples that fit into memory at once. It neither reads nor advances a random state.
        """
        ...

    def weights(self) -> dict[str, Tensor]:
        """A copy of the trained weights, on the CPU."""
        ...

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Put back weights that `weights` returned.

        Raises:
            ModelError: they belong to another network.
        """
        ...

    def write(self, folder: Path, weights: dict[str, Tensor], step: int) -> None:
        """Fill a snapshot's folder with the files to ship. A background thread calls it while training continues."""
        ...


class TrainingPart(Protocol):
    """The module `training` of a task."""

    def prepare(
        self, run: RunDir, config: Config, accelerator: Accelerator, progress: Progress, *, begins: bool
    ) -> Training:
        """Load and prepare everything. progress: called during long work. begins: there is no checkpoint to restore.

        Raises:
            ConfigError, DataError, ModelError, DeviceError: training is impossible with these settings.
        """
        ...


@dataclass
class EvaluationOutput:
    """The results of one evaluation so far. All of them are published, even if the evaluation fails afterwards."""

    samples: list[Sample] = field(default_factory=list)
    """Numbers by prompt and seed, or by another unit that is compared with step 0 in pairs."""
    probes: list[Sample] = field(default_factory=list)
    """What is measured beside them, on inputs that have nothing to do with what is learnt."""
    figures: dict[str, Figure] = field(default_factory=dict[str, Figure])
    """Column that is `of_whole` → its number."""
    exhibits: list[Exhibit] = field(default_factory=list[Exhibit])
    """Tables and pictures that pages show as they are. `write` writes the pictures into `images/`."""
    anchors: dict[str, Anchors] = field(default_factory=dict)
    """Loss → floor and ceiling of its scale; at step 0 only."""
    missing: dict[str, str] = field(default_factory=dict)
    """Column → why it has no value in some sample."""
    encoders: dict[str, Any] = field(default_factory=dict)
    """Column → what computed it."""
    memory: dict[str, float] = field(default_factory=dict)
    """MiB, by `tasks.devices.memory`, at the peak."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Stage → wall time."""
    write: Callable[[Path, EvaluationResult], None] = lambda folder, result: None
    """Writes the files of the result into its folder."""

    @contextmanager
    def timed(self, stage: str) -> Generator[None]:
        """Note the wall time of a stage."""
        started = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - started, 3)


class Evaluation(Protocol):
    """Evaluation of snapshots in one process: a resident model and the prompts or other inputs to evaluate it with."""

    @property
    def device(self) -> device:
        """The device of the model."""
        ...

    def rest(self) -> None:
        """Leave the device to others: models wait in the host's memory."""
        ...

    def wake(self) -> None:
        """Come back to the device."""
        ...

    def swap(self, snapshot: Path | None) -> str:
        """Load the snapshot in this folder; None: the state before training. Returns the snapshot's digest.

        Raises:
            ModelError, RunFolderError: the file is damaged, or does not fit the model.
        """
        ...

    def evaluate(self, step: int, kind: ResultKind, output: EvaluationOutput) -> None:
        """Evaluate the loaded snapshot. The result is the same in every process and every attempt.

        Raises:
            DarkroomError, RuntimeError, ValueError: it cannot be evaluated; `output` keeps the results so far.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Device, precision and the settings on which results depend."""
        ...

    def further(self) -> Evaluation:
        """The same model with other inputs, which confirm the best snapshots."""
        ...

    def with_prompts(self, prompts: Sequence[str]) -> Evaluation | None:
        """The same model with prompts that the user requested; None: the task has no prompts.

        Raises:
            ConfigError: they ask for what the run does not have.
        """
        ...

    def at_strength(self, strength: float) -> Evaluation | None:
        """The same inputs with what was learnt at another strength, 1 is full; None: the task has no strength."""
        ...

    def average(self, steps: Sequence[int], folder: Path) -> dict[str, Any]:
        """Fill a folder with the average of these snapshots, to be swapped in like one of them. Returns facts for its
        manifest; `truncation` is the share of the average, 0…1, that its file does not hold.

        Raises:
            ModelError, RunFolderError: they are damaged, or have no average; the message is told.
        """
        ...


class PublishPart(Protocol):
    """The module `publish` of a task, which a task may lack."""

    def describe(self, run: RunDir, step: int, request: Request, shown: Shown) -> Publication:
        """What is told of a snapshot, and how its weights are written. step: or the number of an average. shown: the
        pictures that the card shows; none where the task draws none.

        Raises:
            ConfigError, ModelError, RunFolderError: it cannot be published in this form.
        """
        ...


class EvaluationPart(Protocol):
    """The module `evaluation` of a task."""

    def descriptions(self, config: Config) -> MetricDescriptions:
        """What its numbers mean in a run with these settings. Header, composite, captions and charts are derived from
        it.
        """
        ...

    def build(self, run: RunDir, config: Config, device: device) -> Evaluation:
        """Load everything that evaluations of this run need.

        Raises:
            ConfigError, DataError, RunFolderError, ModelError, DeviceError: this machine cannot evaluate the run.
        """
        ...
