"""The folder of a sweep: every path of it, by name.

<output>/<name>/
  sweep.toml         the sweep file as it was given            base.toml   the settings of every trial
  journal.log        Optuna's: each trial, its values, how it ended         sweep.json  what follows from it
  configs/           a config for each trial                   logs/       what its `run.py train` said
  runs/trial-000/ …  ordinary run folders
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from shared.errors import RunFolderError
from shared.run_folder.run_dir import RunDir
from shared.sweeps.record import SweepRecord

RECORD = "sweep.json"


@dataclass(frozen=True)
class SweepDir:
    """Paths of one sweep. Writer of all but the run folders: the sweep that holds the lock."""

    path: Path

    @property
    def file(self) -> Path:
        """The sweep file, byte for byte."""
        return self.path / "sweep.toml"

    @property
    def base(self) -> Path:
        """The settings that trials have in common, with absolute paths."""
        return self.path / "base.toml"

    @property
    def journal(self) -> Path:
        """Optuna's journal file: the truth about the trials."""
        return self.path / "journal.log"

    @property
    def record(self) -> Path:
        """`sweep.json`, see `SweepRecord`; derived, replaced whole."""
        return self.path / RECORD

    @property
    def lock(self) -> Path:
        """Held by the sweep at work."""
        return self.path / ".lock"

    @property
    def runs(self) -> Path:
        """The run folders."""
        return self.path / "runs"

    def run(self, number: int) -> RunDir:
        """Of a trial."""
        return RunDir(self.runs / trial_name(number))

    def config(self, number: int) -> Path:
        """Of a trial."""
        return self.path / "configs" / f"{trial_name(number)}.toml"

    def log(self, number: int) -> Path:
        """Of a trial's `run.py train`."""
        return self.path / "logs" / f"{trial_name(number)}.log"

    def read_record(self) -> SweepRecord | None:
        """`sweep.json`; None before it is first written."""
        try:
            return SweepRecord.read(self.record)
        except FileNotFoundError:
            return None


def trial_name(number: int) -> str:
    """`trial-007`."""
    return f"trial-{number:03d}"


def list_sweeps(output_dir: Path) -> list[SweepDir]:
    """The sweeps among the runs of a folder, and the one whose runs these are; the last to be written first."""
    found: dict[SweepDir, float] = {}
    for record in (*output_dir.glob(f"[!.]*/{RECORD}"), output_dir.parent / RECORD):
        if record.parent != output_dir.parent or output_dir.name == "runs":
            with contextlib.suppress(OSError):
                found[SweepDir(record.parent)] = record.stat().st_mtime
    return sorted(found, key=lambda sweep: found[sweep], reverse=True)


def readable(sweep: SweepDir) -> SweepRecord | None:
    """Its record; None where it is damaged or of a newer version."""
    with contextlib.suppress(RunFolderError, OSError):
        return sweep.read_record()
    return None
