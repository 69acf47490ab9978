"""The records of a table file: CSV, JSON Lines, and JSON, as a list or as kohya's object of paths."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from shared.data.sources.columns import Record, names_picture
from shared.data.sources.text import read_text, why
from shared.errors import DataError
from shared.files.json_text import parse_json

JSON_LINE = '{"file_name": "a.png", "text": "a red dress"}'
_QUOTED = re.compile(r'"[^"]*"')


class UnreadableError(DataError):
    """The contents do not match the file's ending, so it is unknown whether it has captions."""


@dataclass(frozen=True)
class Table:
    """The contents of a table file."""

    columns: list[str]
    """Of all records together, in the order they appear."""
    records: list[Record]
    """An entry that is not a record is an empty one."""
    places: list[str]
    """Where each record stands, for messages: file and line, or number where lines mean nothing."""
    faults: dict[str, str]
    """Place → why the entry there is not a record."""


def read_table(path: Path) -> Table:
    """A CSV, JSON or JSON Lines file, by its ending.

    Raises:
        UnreadableError: the file cannot be read, or is not of the form its ending says.
    """
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path}: {why(error)}", "save it as UTF-8; in Excel, as the type CSV UTF-8") from None
    ending = path.suffix.lower()
    if ending == ".jsonl":
        return _table(path, _json_lines(path, text))
    if ending == ".json":
        return _table(path, enumerate(_json_records(path, text), 1))
    return _csv_table(path, text)


def _table(path: Path, numbered: Iterable[tuple[int, Record | str]], columns: Iterable[str] = ()) -> Table:
    """A text in place of a record is the reason why there is none."""
    rows = [(f"{path}:{number}", record) for number, record in numbered]
    records: list[Record] = [{} if isinstance(record, str) else record for _, record in rows]
    names = dict.fromkeys([*columns, *(name for record in records for name in record)])
    faults = {place: record for place, record in rows if isinstance(record, str)}
    return Table(list(names), records, [place for place, _ in rows], faults)


def _json_lines(path: Path, text: str) -> list[tuple[int, Record | str]]:
    """An object a line; or one JSON list, as some programs write under this ending.

    Raises:
        UnreadableError: it is neither.
    """
    records = [(number, _object(line)) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    faults = [(number, fault) for number, fault in records if isinstance(fault, str)]
    if faults and text.lstrip().startswith("["):
        return list(enumerate(_json_records(path, text), 1))
    if faults and len(faults) == len(records):
        number, fault = faults[0]
        raise UnreadableError(f"{path}:{number}: {fault}; nor is any other line", f"write a line for each: {JSON_LINE}")
    return records


def _object(line: str) -> Record | str:
    try:
        return _record(parse_json(line))
    except ValueError as error:
        return why(error)


def _record(value: object) -> Record | str:
    return cast("Record", value) if isinstance(value, dict) else "not a JSON object"


def _json_records(path: Path, text: str) -> list[Record | str]:
    """A list of objects; or an object whose keys are paths, its values captions or objects, as kohya's tools write.

    Raises:
        DataError: it is neither.
    """
    try:
        tree: Any = parse_json(text)
    except ValueError as error:
        raise UnreadableError(f"{path}: {why(error)}", "mend it, or write it again; it may be cut off") from None
    if isinstance(tree, dict):
        return [_kohya_record(name, value) for name, value in cast("dict[str, Any]", tree).items()]
    if isinstance(tree, list):
        return [_record(item) for item in cast("list[Any]", tree)]
    raise DataError(f"{path} holds neither a list nor an object", "give one object for each picture")


def _kohya_record(name: str, value: object) -> Record | str:
    """kohya joins a caption and tags with a comma when it trains."""
    if isinstance(value, str):
        return {"image_path": name, "caption": value}
    if not isinstance(value, dict):
        return f'"{name}" has neither a caption nor an object'
    about = cast("dict[str, Any]", value)
    texts = [about[key] for key in ("caption", "tags") if isinstance(about.get(key), str) and about[key].strip()]
    return {"image_path": name, "caption": ", ".join(texts)}


def _csv_table(path: Path, text: str) -> Table:
    """Rows by column name, or by the column's number where the first row names a picture already.

    Raises:
        UnreadableError: a row is no CSV.
    """
    text, delimiter = delimited(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[tuple[int, list[str]]] = []
    try:
        rows.extend((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))
    except csv.Error as error:
        raise UnreadableError(
            f"{path}:{reader.line_num}: {error}", "add the quotation mark that may be missing"
        ) from None
    header = [name.strip() for name in rows[0][1]] if rows else []
    if any(names_picture(cell) for cell in header):
        header = [f"column {number}" for number in range(1, min(len(row) for _, row in rows) + 1)]
    else:
        rows = rows[1:]
    return _table(path, [(number, by_column(header, row, delimiter)) for number, row in rows], header)


def by_column(header: list[str], row: list[str], delimiter: str) -> Record:
    """Cells beyond the last column belong to it: a caption with commas that nobody has quoted."""
    if len(row) > len(header):
        row = [*row[: len(header) - 1], delimiter.join(row[len(header) - 1 :])]
    return dict(zip(header, row, strict=False))


def delimited(text: str) -> tuple[str, str]:
    """The table and its separator; Excel may write it in a separate first line, `sep=;`."""
    first, _, rest = text.lstrip("\r\n").partition("\n")
    if match := re.fullmatch(r'"?sep=(.)"?\s*', first, re.IGNORECASE):
        return rest, match[1]
    header = _QUOTED.sub("", first.split("\r")[0])
    return text, max(",;\t", key=header.count)
