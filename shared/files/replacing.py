"""A file that is replaced whole.

Windows refuses to replace a file while somebody has it open, and our readers have each for an instant: there it is
tried again for a moment.
"""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

IS_WINDOWS = os.name == "nt"
PATIENCE_SECONDS, PAUSE_SECONDS = 5.0, 0.02


def replace_file(path: Path, data: bytes) -> None:
    """Write beside `path`, fsync, rename over it."""
    staging = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with staging.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        move_over(staging, path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise


def move_over(staging: Path, path: Path) -> None:
    """Rename a file over another one.

    Raises:
        OSError: it cannot be; on Windows also where somebody keeps the other one open.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            staging.replace(path)
        except PermissionError:
            if not IS_WINDOWS or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return
