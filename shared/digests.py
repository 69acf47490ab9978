"""sha256 of files, remembered while path, size and time of change stay the same: 10 GB are not read at every start."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from shared.publication import sha256
from shared.records import replace_file

SETTLED_SECONDS = 2.0
"""A file changed later than this before it was read may change again within the clock's grain: not remembered."""


class Digests:
    """Call it with a file. `path`: where `save` keeps what was learned, for any number of data sets."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _read(path)
        self._learned: dict[str, list[Any]] = {}

    def __call__(self, file: Path) -> str:
        """sha256 of the file's content, in hex."""
        state, key = file.stat(), str(file.resolve())
        stamp = [state.st_size, state.st_mtime_ns]
        known = self._known.get(key)
        if known and known[:2] == stamp:
            return str(known[2])
        digest = sha256(file)
        self._known[key] = [*stamp, digest]
        if time.time() - state.st_mtime > SETTLED_SECONDS:
            self._learned[key] = self._known[key]
        return digest

    def save(self) -> None:
        """Write what was learned, beside what others wrote meanwhile."""
        if self._learned:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, json.dumps({**_read(self._path), **self._learned}).encode())
            self._learned = {}


def _read(path: Path) -> dict[str, list[Any]]:
    """What is remembered; nothing where the file is absent or damaged: then files are read again."""
    try:
        tree: Any = json.loads(path.read_bytes())
        return {str(key): [int(size), int(changed), str(digest)] for key, (size, changed, digest) in tree.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
