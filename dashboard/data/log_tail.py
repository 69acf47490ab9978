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
Start = Literal["newest", "first", "last"]
"""The newest lines; or the first error, or the last one, and what comes after it."""
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


def last_lines(path: Path, count: int, wanted: str = "", level: Level = "all", start: Start = "newest") -> Tail:
    """The last `count` lines that contain `wanted` (any case) and are as grave as `level`, of the file's last 256 KiB;
    none while there is no file. start: where they begin, if there is such an error; one goes over several lines.
    """
    try:
        with open_regular(path) as file:
            end = file.seek(0, 2)
            unread = max(0, end - TAIL_BYTES)
            file.seek(unread)
            data = file.read()
    except (OSError, RunFolderError):
        return Tail()
    lines = data.decode("utf-8", errors="replace").removesuffix("\n").split("\n")
    whole = [last_overwrite(line) for line in (lines[1:] if unread else lines)]
    levels = levels_of(whole)
    kept = [
        place for place, line in enumerate(whole) if levels[place] >= NUMBERS[level] and wanted.lower() in line.lower()
    ]
    begun = [place for place in kept if begins_an_error(levels, place)] if start != "newest" else []
    first = begun[0 if start == "first" else -1] if begun else None
    shown = kept[-count:] if first is None else [place for place in kept if place >= first][:count]
    return Tail(tuple(whole[place] for place in shown), len(whole) - len(shown), unread)


def begins_an_error(levels: list[int], place: int) -> bool:
    """Whether the line is the first of an error."""
    is_error = levels[place] == NUMBERS["errors"]
    return is_error and (place == 0 or levels[place - 1] != NUMBERS["errors"])


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
