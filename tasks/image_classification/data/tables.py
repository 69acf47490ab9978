"""Pictures whose classes stand in a table: CSV, JSON or JSON Lines."""

from __future__ import annotations

from pathlib import Path

from shared.data.sources.columns import LABEL_COLUMNS, column, picture_column
from shared.data.sources.pair import Pair, id_of
from shared.data.sources.scan_report import ScanReport
from shared.data.sources.table_records import read_table
from shared.errors import DataError

ENDINGS = (".csv", ".tsv", ".json", ".jsonl")


def read(path: Path, report: ScanReport, label_column: str = "") -> list[Pair]:
    """Every picture of a table; its class is its caption. Relative paths are meant from the table's folder.

    Raises:
        DataError: the table cannot be read, or has no column of pictures or none of classes.
    """
    table, folder = read_table(path), path.parent.absolute()
    pictures = picture_column(table.records, table.columns)
    labels = (
        label_column
        if label_column in table.columns
        else column(table.columns, (label_column,) if label_column else LABEL_COLUMNS)
    )
    problems = [
        *([] if pictures else ["no column names the pictures"]),
        *([] if labels else [f"there is no column {label_column}" if label_column else "no column names the classes"]),
    ]
    if pictures is None or labels is None:
        raise DataError(
            f"{path}: {' and '.join(problems)}; it has {', '.join(table.columns) or 'no columns'}",
            "name the columns `path` and `label`, or set image_classification.label_column",
        )
    report.problems.extend(f"{place}: {fault}" for place, fault in table.faults.items())
    pairs: list[Pair] = []
    for place, record in zip(table.places, table.records, strict=True):
        if place in table.faults:
            continue
        name, label = (
            str(record.get(key) if record.get(key) is not None else "").strip() for key in (pictures, labels)
        )
        image = folder / name.replace("\\", "/")
        if not name or not label:
            report.problems.append(f"{place}: the {'class' if name else 'path'} is empty")
        elif not image.is_file():
            report.problems.append(f"{place}: {name} is not there")
        else:
            pairs.append(Pair(id_of(image, folder), image, label))
    return pairs
