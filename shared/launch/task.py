"""What commands ask of a task before any program starts. Tasks implement it; `shared` imports none of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from shared.config.schema import Config
from shared.run_folder.records import DatasetRecord, InitialLora
from shared.run_folder.run_dir import RunDir

Say = Callable[[str], object]
Digest = Callable[[Path], str]


@dataclass(frozen=True)
class Plan:
    """A run that can be made: everything has been checked, nothing is written yet."""

    dataset: DatasetRecord
    fill: Callable[[RunDir, Config], None]
    """Puts what the task keeps into the new folder; the config has its steps by now."""
    base_model: Mapping[str, str] = field(default_factory=dict[str, str])
    """What it begins from, as `RunRecord` describes it; empty where that is nothing."""
    folders: Mapping[str, str] = field(default_factory=dict[str, str])
    init_from: InitialLora | None = None


class Task(Protocol):
    """A module without torch."""

    def plan(self, config: Config, say: Say) -> Plan:
        """Check data and base model. say: told what was noticed.

        Raises:
            DataError, ModelError, ConfigError: they cannot be used, or do not suit the settings.
        """
        ...

    def require_same_data(self, run: RunDir, config: Config) -> None:
        """Check that the data at `data.path` is what the run was made of.

        Raises:
            DataError: it is not there, or has changed.
        """
        ...

    def moved(self, run: RunDir, config: Config, changed: Collection[str]) -> set[str]:
        """Of the settings that differ from the run's, those that name another place of the same thing.

        Raises:
            DataError, ModelError: what lies there is not the same, or nothing lies there.
        """
        ...

    def absent(self, run: RunDir, config: Config) -> Mapping[str, str]:
        """What the run needs and is not where the config says: the setting that names it → a sentence.

        Without what `data.…`, `model.…` and `lora.…` name, a run is not trained, and without what `model.…` names not
        evaluated. Without what `evaluation.…` names metrics stay blank.
        """
        ...

    def replaced(self, run: RunDir, config: Config, digest: Digest) -> Iterable[str]:
        """A sentence for each thing beside the data that lies where the run has it, and is no longer what it was.

        digest: of a file; it may remember those of files that have not changed.
        """
        ...

    def identify(self, run: RunDir) -> Mapping[str, str]:
        """`Plan.base_model` as the record has it, with what could not be found out when the run was made."""
        ...

    def forecast(self, config: Config, *, with_evaluator: bool) -> tuple[dict[str, Any] | None, list[str]]:
        """The memory that a run will take, for `run.json` (None: not known), and what to say of it.

        Raises:
            DeviceError: it cannot fit.
        """
        ...

    def expectations(self, config: Config) -> list[str]:
        """What is said of the data when training starts."""
        ...

    def cautions(self, config: Config) -> list[str]:
        """What a person should know of these settings before anything is loaded."""
        ...
