"""What commands ask of a task before any program starts. Tasks implement it; `shared` imports none of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from shared.config.schema import Config
from shared.machine.disk import ResultBytes
from shared.machine.doctor import Finding
from shared.run_folder.records.export_format import ExportFormat
from shared.run_folder.records.run_record import DatasetRecord, Imported, InitialLora
from shared.run_folder.run_dir import RunDir

Say = Callable[[str], object]
Digest = Callable[[Path], str]


@dataclass(frozen=True)
class Plan:
    """A run that can be created: everything has been checked, nothing is written yet."""

    dataset: DatasetRecord
    fill: Callable[[RunDir, Config], None]
    """Writes the task's files into the new folder. The config it gets has its steps resolved."""
    base_model: Mapping[str, str] = field(default_factory=dict[str, str])
    """The base model, as `RunRecord` describes it; empty without one."""
    folders: Mapping[str, str] = field(default_factory=dict[str, str])
    init_from: InitialLora | None = None
    exports: tuple[ExportFormat, ...] = ()
    """The formats that the task's `export` writes; the dashboard shows a button for each."""
    tracker_names: Mapping[str, str] = field(default_factory=dict[str, str])
    """Curve → the name that trackers give it, where `train/loss`, table and column, is not the usual one."""
    imported: Imported | None = None
    """Where its snapshots come from, if another program trains them."""


class Task(Protocol):
    """A module without torch.

    It may also hold `Settings`, a `shared.config.sections.base.Section`: the task's own table in the TOML file.
    """

    def plan(self, config: Config, say: Say) -> Plan:
        """Check data and base model. say: called with each message for the user.

        Raises:
            DataError, ModelError, ConfigError: they cannot be used, or do not suit the settings.
        """
        ...

    def require_suitable(self, config: Config) -> None:
        """Check that the settings suit the base model: of a new run, and of one that is resumed with other settings.

        Raises:
            ModelError, ConfigError: naming every setting that does not.
        """
        ...

    def require_same_data(self, run: RunDir, config: Config) -> None:
        """Check that the data at `data.path` is the data that the run was created with.

        Raises:
            DataError: it is missing, or has changed.
        """
        ...

    def moved_settings(self, run: RunDir, config: Config, changed: Collection[str]) -> set[str]:
        """The changed settings that name a new location of the same content.

        Raises:
            DataError, ModelError: the content there is missing or different.
        """
        ...

    def missing_paths(self, run: RunDir, config: Config) -> Mapping[str, str]:
        """What the run needs and is missing at the configured location: setting → a sentence.

        Training needs everything that `data.…`, `model.…` and `lora.…` name; evaluation needs what `model.…` names. If
        something that `evaluation.…` names is missing, its metrics have no values.
        """
        ...

    def changed_content(self, run: RunDir, config: Config, digest: Digest) -> Iterable[str]:
        """A sentence for everything other than the data whose content at its recorded location has changed.

        digest: computes the digest of a file, or takes it from a cache if the file has not changed.
        """
        ...

    def identify(self, run: RunDir) -> Mapping[str, str]:
        """The recorded `Plan.base_model`, completed with what was unknown when the run was created."""
        ...

    def estimate_memory(self, config: Config, *, with_evaluator: bool) -> tuple[dict[str, Any] | None, list[str]]:
        """The memory that a run will take, for `run.json` (None: not known), and sentences about it for the user.

        Raises:
            DeviceError: it cannot fit.
        """
        ...

    def describe_data(self, config: Config) -> list[str]:
        """Sentences about the data, shown when training starts."""
        ...

    def warnings(self, run: RunDir, config: Config) -> list[str]:
        """What the user should know about these settings and this run's data before anything is loaded."""
        ...

    def result_bytes(self, config: Config) -> ResultBytes:
        """An estimate of the disk space that evaluation takes."""
        ...

    def doctor_checks(self) -> list[Finding]:
        """What `run.py doctor` says of this machine for the task."""
        ...
