"""The logs of a run's programs: which there are, and the lines of one that were asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dashboard.data.log_tail import Level, Start, Tail, last_lines
from dashboard.data.reader import RunReader
from dashboard.text.formatting import size
from dashboard.text.language import say
from shared.errors import RunFolderError
from shared.files.regular import own_file
from shared.run_folder.run_dir import RunDir

LINE_COUNTS = (200, 1000, 5000)
LEVELS: dict[Level, str] = {"all": "all lines", "warnings": "warnings, errors", "errors": "errors"}
STARTS: dict[Start, str] = {"newest": "newest lines", "first": "from the first error", "last": "from the last error"}
ROLE = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True)
class Log:
    """What is shown of a log."""

    text: str
    """Its lines."""
    remark: str
    """Where it is, and what of it is not shown."""


def log(reader: RunReader, role: str, count: int, wanted: str, level: Level, start: Start) -> Log:
    """The lines that `last_lines` finds in the log of a program.

    Raises:
        RunFolderError: there is no such log.
    """
    path = logs_of(reader.run).get(role)
    if path is None:
        raise RunFolderError(say("No program has written a log yet."))
    tail = last_lines(path, count, wanted, level, start)
    text = "\n".join(tail.lines) or say("No line matches.")
    return Log(text, " · ".join([str(path), *what_is_hidden(tail)]))


def what_is_hidden(tail: Tail) -> list[str]:
    """Lines that were read and are not shown, and what was not read."""
    hidden = [say("{count} lines are hidden", count=tail.hidden)] if tail.hidden else []
    unread = [say("the first {size} are not read", size=size(tail.unread_bytes))] if tail.unread_bytes else []
    return [*hidden, *unread]


def logs_of(run: RunDir) -> dict[str, Path]:
    """Program → its log. A link out of the run and a named pipe are no logs."""
    files = (path for path in run.logs.glob("*.log") if ROLE.fullmatch(path.stem))
    return {path.stem: path for path in files if own_file(path, run.path)}
