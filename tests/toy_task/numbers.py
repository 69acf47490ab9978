"""The rows of the file at `data.path`: `x` and `y`. Of every few rows one is held out, `data.num_validation` in all."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from shared.config.loading import own_settings
from shared.config.schema import Config
from shared.errors import DataError
from tests.toy_task.settings import Settings


@dataclass(frozen=True)
class Row:
    id: str
    x: float
    y: float


def read(config: Config) -> list[Row]:
    path = Path(config.data.path)
    if not path.is_file():
        raise DataError(f"data.path is {path}, where there is no file", "give a CSV file with the columns x and y")
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Row(f"row-{number:02d}", float(row["x"]), float(row["y"]))
            for number, row in enumerate(csv.DictReader(file))
        ]


def held_out(rows: list[Row], config: Config) -> list[str]:
    return [row.id for row in rows[:: own_settings(config, Settings).every]][: config.data.num_validation]
