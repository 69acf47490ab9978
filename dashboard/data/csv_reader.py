"""A CSV file that another process appends to, followed by byte offset: each byte is read once for all viewers.

A line counts once its newline is there. Columns are numbers; `timestamp` becomes epoch seconds. Blanks are NaN.
Columns a newer writer added are kept; columns this page wants and the file lacks are NaN throughout.
"""

from __future__ import annotations

import functools
import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.errors import RunFolderError
from shared.files.regular import open_regular

FINGERPRINT_BYTES = 256
FIRST_CAPACITY = 1024
TIME_COLUMN = "timestamp"


@functools.cache
def _empty(columns: tuple[str, ...]) -> pd.DataFrame:
    """The same for all runs: a list of runs opens hundreds."""
    return pd.DataFrame({column: pd.Series(dtype="float64") for column in columns})


class GrowingTable:
    """A table that grows, and is sometimes replaced whole; rows are appended to arrays with room to spare."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self._path, self._columns = path, columns
        self._lock = threading.Lock()
        self.empty = _empty(columns)
        """The table without rows."""
        self._forget()

    def read(self) -> pd.DataFrame:
        """Every whole row so far; the frame is shared: do not change it.

        Raises:
            RunFolderError: a line is not a row of this table.
        """
        with self._lock:
            lines = self._new_lines()
            if lines:
                self._append(lines)
            return self._frame

    def _forget(self) -> None:
        self._offset, self._last_bytes, self._header = 0, b"", b""
        self._num_rows, self._arrays = 0, dict[str, NDArray[Any]]()
        self._frame = self.empty

    def _new_lines(self) -> bytes:
        """What came since the last call, up to the last newline.

        The bytes before the offset are compared with what was read there: a resumed trainer rewrites the table, and
        neither size nor inode would tell for sure.
        """
        try:
            with open_regular(self._path) as file:
                file.seek(self._offset - len(self._last_bytes))
                data = file.read()
        except FileNotFoundError:
            self._forget()
            return b""
        if not data.startswith(self._last_bytes):
            self._forget()
            return self._new_lines()
        lines = data[len(self._last_bytes) : data.rfind(b"\n") + 1]
        self._offset += len(lines)
        self._last_bytes = (self._last_bytes + lines)[-FINGERPRINT_BYTES:]
        return lines

    def _append(self, lines: bytes) -> None:
        if not self._header:
            header, newline, lines = lines.partition(b"\n")
            self._header = header + newline
        try:
            rows = parse(self._header + lines, self._columns)
        except ValueError as error:
            self._forget()
            raise RunFolderError(
                f"{self._path} is damaged: {error}", "resume the training, whose start repairs it"
            ) from None
        end = self._num_rows + len(rows)
        for column in rows.columns:
            array = self._room(str(column), end)
            array[self._num_rows : end] = rows[column].to_numpy()
        self._num_rows = end
        self._frame = pd.DataFrame({name: array[:end] for name, array in self._arrays.items()}, copy=False)

    def _room(self, column: str, size: int) -> NDArray[Any]:
        """The column's array, at least `size` long; it doubles, so that appending costs what is appended."""
        array = self._arrays.get(column)
        if array is None or len(array) < size:
            grown = np.full(max(2 * size, FIRST_CAPACITY), np.nan)
            grown[: self._num_rows] = array[: self._num_rows] if array is not None else np.nan
            self._arrays[column] = array = grown
        return array


def parse(text: bytes, wanted: tuple[str, ...]) -> pd.DataFrame:
    """Header and rows as floats; raises ValueError when a wanted column holds something else."""
    dtypes: Any = {column: "str" if column == TIME_COLUMN else "float64" for column in wanted}
    rows = pd.read_csv(io.BytesIO(text), dtype=dtypes)
    for column in rows.columns.difference(list(wanted)):
        rows[column] = pd.Series(pd.to_numeric(rows[column], errors="coerce"), dtype="float64")
    if TIME_COLUMN in rows:
        rows[TIME_COLUMN] = epoch_seconds(rows[TIME_COLUMN].to_list())
    return rows.reindex(columns=rows.columns.union(list(wanted), sort=False)).astype("float64")


def epoch_seconds(times: list[str]) -> NDArray[np.float64]:
    """ISO-8601 times as seconds since 1970, NaN where there is none."""
    parsed = pd.to_datetime(times, format="ISO8601", utc=True)
    stamps = parsed.tz_convert(None).to_numpy().astype("datetime64[ms]")
    return np.where(np.isnat(stamps), np.nan, stamps.astype("int64") / 1000)
