"""The CSV files of a run: one header, whole lines, one writer.

A row is written with a single `write` to a file opened for appending, so a reader meets whole lines and, at worst, one
torn line at the end. Readers stop at the last newline: a number that was cut is no number.
"""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from shared.errors import RunFolderError
from shared.files.regular import BINARY, read_regular
from shared.files.replacing import replace_file

Value = str | int | float | bool | None
MAX_CELL = 100_000
"""Characters of a cell; Python's csv reads no cell of more than 131,072. Records keep the whole text."""
TRAIN_COLUMNS = (
    "step",
    "epoch",
    "loss",
    "learning_rate",
    "grad_norm",
    "samples_per_second",
    "step_seconds",
    "gpu_allocated_mib",
    "gpu_reserved_mib",
    "gpu_device_used_mib",
    "process_rss_mib",
    "timestamp",
)

VALIDATION_COLUMNS = ("step", "held_out_loss", "train_probe_loss", "gap", "seconds", "timestamp")
"""Those of validation.csv that every program knows. What a task measures stands between `step` and `seconds`; it may
lack some of these and have others."""

EXAMPLE_COLUMNS = ("step", "part", "id", "loss")
"""Of validation_examples.csv: the loss of one example, of part `held out` or `probe`."""

DATA_COLUMNS = ("id", "split", "bucket", "tokens", "tokens_cut", "alike")
"""Of dataset.csv, what training makes of each picture. `split`: `train`, `held_out`, `left_out` or `regularization`;
`bucket`: `512×768`, width first; `tokens`: of the caption with its trigger word, `tokens_cut` of them are not read;
`alike`: the id of the first of those that look alike, blank if none does."""

SYSTEM_COLUMNS = (
    "timestamp",
    "seconds",
    "cpu_percent",
    "memory_used_mib",
    "disk_free_mib",
    "trainer_rss_mib",
    "evaluator_rss_mib",
    "dashboard_rss_mib",
    "supervisor_rss_mib",
    "trainer_gpu_mib",
    "evaluator_gpu_mib",
)
"""Of system.csv, every 10 s. `seconds`: since the row before, 0 where a recording begins; their sum is the time that
was recorded.

The first three numbers are of the whole machine: processors in percent of all cores, memory in use, free space on the
disk of the run. `…_rss_mib`: resident memory of a program, all evaluators together. `…_gpu_mib`: what it holds on all
GPUs, as the driver says; train.csv has, by step, what torch holds of that. Blank: the program does not run, or nobody
tells."""

GPU_COLUMNS = ("percent", "memory_mib", "celsius", "watts")
"""Of system.csv after these, for each GPU that the run may use, as `gpu<number>_percent`: load, memory in use by
everybody, temperature, power."""


class Appender:
    """Appends rows to one CSV file; this process is its only writer."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        """Cut a torn last line off, write the header into a fresh file, refuse another header."""
        self.path, self.columns = path, columns
        whole = whole_lines(path)
        header = _line(columns)
        if whole and whole.partition(b"\n")[0] + b"\n" != header:
            raise RunFolderError(
                f"{path} has other columns than this version writes",
                "start a new run, or use the version that wrote it",
            )
        if not path.exists() or path.stat().st_size != len(whole) or not whole:
            replace_file(path, whole or header)

    def append(self, row: Mapping[str, Value]) -> None:
        """Write one row, whole or not at all; None is a blank.

        Raises:
            KeyError: a key is no column.
            OSError: the row cannot be written; a full disk may take a part of it, which is cut off again.
        """
        for key in row:
            if key not in self.columns:
                raise KeyError(key)
        line = _line(row.get(column) for column in self.columns)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | BINARY)
        try:
            size = os.fstat(descriptor).st_size
            if os.write(descriptor, line) < len(line):
                os.ftruncate(descriptor, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        finally:
            os.close(descriptor)


def listed(path: Path) -> set[int]:
    """The steps of a table's rows."""
    return {int(row["step"]) for row in read_rows(path)}


def read_rows(path: Path) -> list[dict[str, str]]:
    """Every whole row, values as text (blank: ""); an absent file is an empty table."""
    text = whole_lines(path).decode("utf-8", errors="replace")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def write_rows(path: Path, columns: tuple[str, ...], rows: Iterable[Mapping[str, Value]]) -> None:
    """Replace the whole table."""
    lines = [_line(columns), *(_line(row.get(column) for column in columns) for row in rows)]
    replace_file(path, b"".join(lines))


def prune(path: Path, keep: Callable[[dict[str, str]], bool]) -> int:
    """Keep only the rows `keep` accepts; returns how many went."""
    whole = whole_lines(path)
    if not whole:
        return 0
    rows = read_rows(path)
    kept = [row for row in rows if keep(row)]
    if len(kept) < len(rows):
        header = tuple(next(csv.reader([whole.partition(b"\n")[0].decode()])))
        write_rows(path, header, kept)
    return len(rows) - len(kept)


def whole_lines(path: Path) -> bytes:
    """The file up to its last newline; empty when absent."""
    try:
        data = read_regular(path)
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]


def _line(values: Iterable[Value]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow("" if value is None else _one_line(value) for value in values)
    return text.getvalue().encode("utf-8", errors="replace")  # a path in a reason may hold half a character


def _one_line(value: Value) -> Value:
    if not isinstance(value, str):
        return value
    text = " ".join(value.split())
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 1]}…"
