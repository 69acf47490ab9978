"""Reading files that somebody else put there: a run folder may be copied from anywhere.

A named pipe would hold its reader for ever, and a folder is no file; both are refused.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from shared.errors import RunFolderError

BINARY: int = getattr(os, "O_BINARY", 0)
"""Without it Windows changes the line ends of what is read and written by `os.open`."""
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | BINARY
"""Windows has no named pipes that block here."""
UNREADABLE = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO})


def open_regular(path: Path) -> BinaryIO:
    """The file, open for reading.

    Raises:
        FileNotFoundError: there is none.
        RunFolderError: it is no file, or may not be read.
    """
    try:
        descriptor = os.open(path, FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        hint = f"make {path} readable, or move this file away"
        raise RunFolderError(f"{path} cannot be read: {error.strerror}", hint) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RunFolderError(f"{path} is not a file", f"move {path} away")
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path) -> bytes:
    """The bytes of the file; raises as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()


def own_file(path: Path, folder: Path) -> Path | None:
    """`path` with its links followed; None if it is missing, no regular file, or leads out of `folder`."""
    try:
        file = path.resolve(strict=True)
        return file if file.is_file() and file.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError, RuntimeError):
        return None


def leads_out(path: Path, folder: Path) -> bool:
    """Whether a link on the way to `path` leads out of `folder`; `path` need not exist."""
    try:
        return not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return True
