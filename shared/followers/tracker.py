"""What a tracker is: it takes a run's numbers, pictures and best snapshot to another tool, from a process of its own.

A tracker is one file in `shared/followers/trackers/`; docs/adding-a-tracker.md shows one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from PIL import Image

from shared.config.schema import Config
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import parse_time

Table = Literal["train", "validation", "metrics"]
PictureName = Literal["samples", "comparison"]
"""`samples`: the contact sheet of one evaluation. `comparison`: the same prompts as references, base model, best and
newest snapshot; another one when another snapshot is the best or the newest."""


@dataclass(frozen=True)
class Destination:
    """Where a tracker puts a run."""

    id: str
    """Of the run there. With another id than the last time nothing counts as delivered: it is another server, say, or
    the old data are gone."""
    link: str = ""
    """Where a person looks at it: an address, a folder or a command."""


@dataclass(frozen=True)
class Row:
    """One row of a table. Columns without a value are in neither mapping."""

    step: int
    time: float
    """When it was written, epoch seconds; 0 where the table does not say."""
    numbers: Mapping[str, float]
    """By name, `train/loss`; `TrackerNames` says which. May be NaN: a loss that was not finite."""
    texts: Mapping[str, str]
    """Of metrics.csv: `status`, `reason` and `signals`; by column."""


@dataclass(frozen=True)
class Model:
    """The snapshot to ship, when a run is over."""

    name: str
    """Of the run: its models are versions of one."""
    step: int
    """Or the number of an average."""
    label: str
    """The step as people read it."""
    folder: Path
    """Its files, and their manifest."""
    digest: str
    """Of the files: another snapshot has another one."""
    card: str
    """What it is and what was measured, in Markdown."""
    recommended: bool
    """False: it is only the least bad, see `Best.flagged`."""


class Tracker(Protocol):
    """Called by one thread, in the order in which things happen in the run folder.

    A call that returns is never repeated. One that raises, or whose process is killed inside it, is made again with the
    same values, so it should do all of its work or none, or notice what is there already. Only `ConfigError` is final:
    the follower ends with it.
    """

    def begin(self, run: RunDir, config: Config) -> Destination:
        """Connect, or see whether the connection still holds. Called once a process, when a run is resumed too, and
        after each call that raised."""
        ...

    def rows(self, table: Table, rows: Sequence[Row]) -> None:
        """New rows of one table, at least one. In `train` and `validation` steps ascend; in `metrics` they need not:
        the newest snapshot is evaluated first, and a row comes again with the numbers that were blank or that have
        changed, and with no others. Intervals of differences come when the run is over."""
        ...

    def picture(self, name: PictureName, step: int, picture: Image.Image) -> None:
        """An RGB picture. step: of the snapshot that was evaluated, the newest one of a comparison."""
        ...

    def best(self, best: Best) -> None:
        """Another verdict: what is said of it, or of going on, has changed."""
        ...

    def model(self, model: Model) -> None:
        """The run is over, and this is its snapshot to ship. Not called with `run.skip_model_upload`."""
        ...

    def end(self, code: int | None) -> None:
        """Nothing more comes from this process. code: 0; 1 where the trainer failed; None: the run goes on."""
        ...


def parse_row(cells: Mapping[str, str], name: Callable[[str], str] = str) -> Row:
    """A row of a CSV file of the run folder. name: of a column, for the tracker."""
    filled = {column: cell for column, cell in cells.items() if cell and column not in ("step", "timestamp")}
    values = {column: _number(cell) for column, cell in filled.items()}
    written = cells.get("timestamp")
    return Row(
        step=int(cells["step"]),
        time=parse_time(written).timestamp() if written else 0.0,
        numbers={name(column): value for column, value in values.items() if value is not None},
        texts={column: filled[column] for column, value in values.items() if value is None},
    )


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
