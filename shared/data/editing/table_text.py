"""A table of captions as text, so that one row can be written again and all others stay as they are, byte for byte."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from shared.data.sources.columns import CAPTION_COLUMNS, caption_column, column, picture_column
from shared.data.sources.table_records import by_column, delimited, read_table
from shared.errors import DataError
from shared.files.json_text import parse_json

BOM = "\ufeff"


class TableText:
    """The rows of a CSV or JSON Lines file by their last line, as `CaptionPlace` has it."""

    def __init__(self, path: Path, text: str) -> None:
        """text: the whole file, which may begin with a byte order mark.

        Raises:
            DataError: rows of such a table cannot be written one by one, or it cannot be read.
        """
        self._path = path
        table = read_table(path)
        picture = picture_column(table.records, table.columns)
        caption = caption_column(table.records, table.columns, besides=picture or "")
        if caption is None or path.suffix.lower() == ".json" or text.lstrip(f"{BOM} \r\n\t").startswith("["):
            raise DataError(
                f"the rows of {path.name} cannot be changed one by one", "write the captions as metadata.jsonl or CSV"
            )
        self._columns, self._caption, self._is_csv = table.columns, caption, path.suffix.lower() != ".jsonl"
        body, self._delimiter = delimited(text.removeprefix(BOM)) if self._is_csv else (text.removeprefix(BOM), "")
        self._rows = dict(self._csv_rows(body) if self._is_csv else enumerate(body.split("\n"), 1))

    def row(self, line: int) -> str:
        """The text of a row, without the end of its last line.

        Raises:
            DataError: there is none.
        """
        if not self._rows.get(line, "").strip():
            raise DataError(f"{self._path.name} has no row in line {line}", "load the page again")
        return self._rows[line]

    def edited(self, line: int, caption: str) -> str:
        """The same row with another caption."""
        row = self.row(line)
        return self._edited_csv(row, caption) if self._is_csv else self._edited_json(row, caption)

    def _csv_rows(self, body: str) -> Iterator[tuple[int, str]]:
        lines = list(io.StringIO(body, newline=""))
        reader, start = csv.reader(lines, delimiter=self._delimiter), 0
        for _ in reader:
            yield reader.line_num, "".join(lines[start : reader.line_num]).rstrip("\r\n")
            start = reader.line_num

    def _edited_csv(self, row: str, caption: str) -> str:
        cells = next(csv.reader(io.StringIO(row, newline=""), delimiter=self._delimiter))
        record = {**by_column(self._columns, cells, self._delimiter), self._caption: caption}
        written = io.StringIO(newline="")
        values = [record.get(name, "") for name in self._columns]
        csv.writer(written, delimiter=self._delimiter).writerow(values)
        return written.getvalue().removesuffix("\r\n")

    def _edited_json(self, row: str, caption: str) -> str:
        record = cast("dict[str, Any]", parse_json(row))
        name = self._caption if self._caption in record else column(list(record), CAPTION_COLUMNS)
        ending = "\r" if row.endswith("\r") else ""
        return json.dumps({**record, name or self._caption: caption}, ensure_ascii=False) + ending
