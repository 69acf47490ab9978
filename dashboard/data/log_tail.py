"""The end of a log file, as lines; only so much is read as is shown."""

from __future__ import annotations

from pathlib import Path

from shared.errors import RunFolderError
from shared.files.regular import open_regular

TAIL_BYTES = 256 * 1024


def last_lines(path: Path, count: int, wanted: str = "") -> list[str]:
    """The last `count` lines that contain `wanted` (any case), of the file's last 256 KiB; empty when there is none."""
    try:
        with open_regular(path) as file:
            end = file.seek(0, 2)
            start = max(0, end - TAIL_BYTES)
            file.seek(start)
            data = file.read()
    except (OSError, RunFolderError):
        return []
    lines = data.decode("utf-8", errors="replace").removesuffix("\n").split("\n")
    whole = lines[1:] if start else lines
    kept = [last_overwrite(line) for line in whole if wanted.lower() in line.lower()]
    return kept[-count:]


def last_overwrite(line: str) -> str:
    """A progress bar rewrites its line with carriage returns: what it said last counts."""
    return line.rstrip("\r").rpartition("\r")[2]
