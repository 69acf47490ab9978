"""The end of a log file, as lines; only so much is read as is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.errors import RunFolderError
from shared.files.regular import open_regular

TAIL_BYTES = 256 * 1024
Level = Literal["all", "warnings", "errors"]
NUMBERS: dict[Level, int] = {"all": 0, "warnings": 1, "errors": 2}
ERROR = re.compile(r"\b(ERROR|CRITICAL)\b|^error: |^Traceback |^[\w.]*(Error|Exception|Interrupt)(: |$)|^Fatal ")
WARNING = re.compile(r"\bWARN(ING)?\b|\b\w*Warning: ")
CONTINUED = re.compile(r"\s|hint: |$")
"""Lines that belong to the one before: frames of a traceback, further lines of an error, its hint."""


@dataclass(frozen=True)
class Tail:
    """The lines to show, and how many others there are in the part of the file that was read."""

    lines: tuple[str, ...] = ()
    hidden: int = 0
    unread_bytes: int = 0
    """Before the part that was read."""


def last_lines(path: Path, count: int, wanted: str = "", level: Level = "all", from_error: bool = False) -> Tail:
    """The last `count` lines that contain `wanted` (any case) and are as grave as `level`, of the file's last 256 KiB;
    none while there is no file.

    from_error: the first error and what comes after it, instead of the last lines.
    """
    try:
        with open_regular(path) as file:
            end = file.seek(0, 2)
            start = max(0, end - TAIL_BYTES)
            file.seek(start)
            data = file.read()
    except (OSError, RunFolderError):
        return Tail()
    lines = data.decode("utf-8", errors="replace").removesuffix("\n").split("\n")
    whole = [last_overwrite(line) for line in (lines[1:] if start else lines)]
    graded = [(line, of) for line, of in zip(whole, levels_of(whole), strict=True) if of >= NUMBERS[level]]
    kept = [(line, of) for line, of in graded if wanted.lower() in line.lower()]
    first = next((place for place, (_, of) in enumerate(kept) if of == NUMBERS["errors"]), None) if from_error else None
    shown = kept[-count:] if first is None else kept[first : first + count]
    return Tail(tuple(line for line, _ in shown), len(whole) - len(shown), start)


def levels_of(lines: list[str]) -> list[int]:
    """How grave each line is, 0 to 2."""
    levels: list[int] = []
    for line in lines:
        if ERROR.search(line):
            levels.append(2)
        elif WARNING.search(line):
            levels.append(1)
        else:
            levels.append(levels[-1] if levels and CONTINUED.match(line) else 0)
    return levels


def last_overwrite(line: str) -> str:
    """A progress bar rewrites its line with carriage returns: what it said last counts."""
    return line.rstrip("\r").rpartition("\r")[2]
