"""How a program ended, as its log tells it: an `error:` with its `hint:`, or the last line of a traceback."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.errors import RunFolderError
from shared.files.regular import open_regular, own_file
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import parse_time

TAIL_BYTES = 64 * 1024
CONTINUED = " " * 7
"""How the further lines of an error begin."""
TRACEBACK = "Traceback (most recent call last):"
RAISED = re.compile(r"[A-Za-z_][\w.]*(:|$)")
"""The last line of a traceback: the exception's type, then its text."""

LOGGED = re.compile(r"\d{4}-\d\d-\d\d ")
"""How a line of a program that is still running begins."""


@dataclass(frozen=True)
class LoggedError:
    """What went wrong, and what cures it; empty where the program does not know."""

    message: str
    cure: str = ""


def logged_error(run: RunDir, program: str, since: str) -> LoggedError | None:
    """The error that a program's log ends with; None if it ends otherwise, or was last written before `since`."""
    log = own_file(run.logs / f"{program}.log", run.path)
    try:
        if log is None or log.stat().st_mtime < parse_time(since).timestamp():
            return None
        with open_regular(log) as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except (OSError, ValueError, RunFolderError):
        return None
    return error_at_end(text)


def error_at_end(text: str) -> LoggedError | None:
    """The last error of a log, if nothing but its own lines comes after it."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    reported = max((place for place, line in enumerate(lines) if line.startswith("error: ")), default=-1)
    raised = max((place for place, line in enumerate(lines) if line == TRACEBACK), default=-1)
    if raised > reported:
        return _raised(lines[raised + 1 :])
    return _reported(lines[reported:]) if reported >= 0 else None


def _reported(lines: list[str]) -> LoggedError | None:
    if not all(line.startswith((CONTINUED, "hint: ")) for line in lines[1:]):
        return None
    hints = [place for place, line in enumerate(lines) if line.startswith("hint: ")]
    end = hints[0] if hints else len(lines)
    message, cure = _joined(lines[:end]), _joined(lines[end:])
    return LoggedError(message.removeprefix("error: "), cure.removeprefix("hint: "))


def _raised(lines: list[str]) -> LoggedError | None:
    """The frames are indented; the first line that is not is what was raised."""
    last = next((place for place, line in enumerate(lines) if not line.startswith(" ")), None)
    if last is None or not RAISED.match(lines[last]) or any(LOGGED.match(line) for line in lines[last:]):
        return None
    return LoggedError(lines[last])


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines)
