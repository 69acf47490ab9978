"""Which programs work on a run, and which of them are alive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.records.process_status import ProcessStatus
from shared.run_folder.run_dir import RunDir
from shared.run_folder.sharing.active_evaluators import read_active_evaluators


@dataclass(frozen=True)
class Programs:
    """Of this session."""

    trainer: ProcessStatus | None
    """None: it has never run, or its record cannot be read."""
    trains: bool
    """Whether it is alive."""
    imports: bool
    """Whether a program is alive that takes the LoRAs of another trainer."""
    evaluators: Mapping[int, ProcessStatus]
    evaluating: frozenset[int]
    """Slots of the evaluators that are alive."""

    @property
    def live(self) -> bool:
        """Whether any of them is at work."""
        return self.trains or self.imports or bool(self.evaluating)

    @property
    def snapshots_may_come(self) -> bool:
        """Whether a program is at work that makes some."""
        return self.trains or self.imports


def read_programs(run: RunDir) -> Programs:
    """As they are now."""
    trainer, (evaluators, evaluating) = read_status(run, "trainer"), read_active_evaluators(run)
    imports = is_alive(read_status(run, "importer"))
    return Programs(trainer, is_alive(trainer), imports, evaluators, frozenset(evaluating))
