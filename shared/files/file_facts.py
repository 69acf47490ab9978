"""Facts about files, kept on disk while path, size and modification time are unchanged, for any number of data sets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from shared.files.json_text import parse_json
from shared.files.replacing import replace_file

SETTLED_SECONDS = 2.0
"""Files modified more recently than this are not remembered: the clock might not show a second change."""

Fact = TypeVar("Fact")


class Remembered(Generic[Fact]):
    """Call it with a file, from any thread. Its answers can be written as JSON."""

    def __init__(self, path: Path, look: Callable[[Path], Fact], read: Callable[[Any], Fact]) -> None:
        """path: where `save` keeps what was learned. read: an answer as JSON has it; ValueError if it is none."""
        self._path, self._look, self._read = path, look, read
        self._known = self._load()
        self._learned: dict[str, tuple[int, int, Fact]] = {}

    def __call__(self, file: Path) -> Fact:
        """The answer of `look` for the file's present content."""
        state, key = file.stat(), str(file.resolve())
        stamp = (state.st_size, state.st_mtime_ns)
        known = self._known.get(key)
        if known and known[:2] == stamp:
            return known[2]
        fact = self._look(file)
        self._known[key] = (*stamp, fact)
        if time.time() - state.st_mtime > SETTLED_SECONDS:
            self._learned[key] = self._known[key]
        return fact

    def save(self) -> None:
        """Write the new facts, and keep those that other programs wrote meanwhile."""
        if self._learned:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, json.dumps({**self._load(), **self._learned}).encode())
            self._learned = {}

    def _load(self) -> dict[str, tuple[int, int, Fact]]:
        """The facts on disk; empty if the file is missing or damaged, so that files are read again."""
        try:
            tree: Any = parse_json(self._path.read_bytes())
            return {
                str(key): (int(size), int(changed), self._read(fact)) for key, (size, changed, fact) in tree.items()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
