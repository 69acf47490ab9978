"""What a tracker is: it takes a run's numbers and pictures to another tool, from a process of its own.

A tracker is one file in `shared/followers/trackers/`; docs/adding-a-tracker.md shows one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from shared.config.schema import Config
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import parse_time

Table = Literal["train", "validation", "metrics"]


@dataclass(frozen=True)
class Row:
    """One row of a table. Columns without a value are in neither mapping."""

    step: int
    time: float
    """When it was written, epoch seconds; 0 where the table does not say."""
    numbers: Mapping[str, float]
    """May be NaN: a loss that was not finite."""
    texts: Mapping[str, str]
    """Of metrics.csv: `status`, `reason` and `signals`."""


class Tracker(Protocol):
    """Called by one thread, in the order in which things happen in the run folder.

    A call that returns is never repeated. One that raises, or whose process is killed inside it, is made again with the
    same values, so it should do all of its work or none. Only `ConfigError` is final: the follower ends with it.
    """

    def begin(self, run: RunDir, config: Config) -> None:
        """Connect. Called once a process: again when a run is resumed, and after a restart."""
        ...

    def rows(self, table: Table, rows: Sequence[Row]) -> None:
        """New rows of one table, at least one. In `train` and `validation` steps ascend; in `metrics` they need not:
        the newest snapshot is evaluated first, and a skipped one comes again when a person had it evaluated."""
        ...

    def sheet(self, step: int, picture: Path) -> None:
        """The contact sheet of an evaluation, a WebP file: samples beside their references."""
        ...

    def best(self, best: Best) -> None:
        """Another snapshot is the best, or the same one for better reasons: confirmed, or shown to beat the base."""
        ...

    def end(self, code: int) -> None:
        """The run is over for now, or the follower was told to end. code: 0, or 1 where the trainer failed."""
        ...


def parse_row(cells: Mapping[str, str]) -> Row:
    """A row of a CSV file of the run folder."""
    filled = {column: cell for column, cell in cells.items() if cell and column not in ("step", "timestamp")}
    values = {column: _number(cell) for column, cell in filled.items()}
    written = cells.get("timestamp")
    return Row(
        step=int(cells["step"]),
        time=parse_time(written).timestamp() if written else 0.0,
        numbers={column: value for column, value in values.items() if value is not None},
        texts={column: filled[column] for column, value in values.items() if value is None},
    )


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
