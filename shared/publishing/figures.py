"""The numbers of a snapshot against the base model, as its run has published them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shared.run_folder.averages import is_average
from shared.run_folder.metric_descriptions import Column
from shared.run_folder.records.interval import Interval
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows


@dataclass(frozen=True)
class Compared:
    """One metric: the snapshot's mean and the paired difference to the base model."""

    column: Column
    value: float
    difference: Interval

    @property
    def base(self) -> float:
        """The base model's mean over the same prompts."""
        return self.value - self.difference.delta


def compared(run: RunDir, step: int) -> list[Compared]:
    """In the order of the columns: of the best snapshot by `best.json`, of others by `metrics.csv`."""
    values, differences = _of_best(run, step) or _of_row(run, step)
    return [
        Compared(column, value, differences[column.name])
        for column in run.read_metric_descriptions().compared
        if (value := values.get(column.name)) is not None and column.name in differences
    ]


Numbers = tuple[dict[str, float | None], dict[str, Interval]]


def _of_best(run: RunDir, step: int) -> Numbers | None:
    best = run.read_best()
    return (best.metrics, best.deltas) if best and best.step == step else None


def _of_row(run: RunDir, step: int) -> Numbers:
    rows = read_rows(run.averages_csv if is_average(step) else run.metrics_csv)
    row = next((row for row in rows if row["step"] == str(step)), {})
    values = {name: float(row[name]) for name, _ in _differences(run, row)}
    return {**values}, dict(_differences(run, row))


def _differences(run: RunDir, row: dict[str, str]) -> Iterator[tuple[str, Interval]]:
    for column in run.read_metric_descriptions().compared:
        cells = [row.get(f"{column.name}{end}", "") for end in ("_delta", "_low", "_high")]
        if row.get(column.name) and all(cells):
            delta, low, high = map(float, cells)
            yield column.name, Interval(delta=delta, low=low, high=high)
