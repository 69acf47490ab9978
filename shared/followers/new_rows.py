"""A CSV file of the run folder, read on from where it was left."""

from __future__ import annotations

import csv
import os
from pathlib import Path


class NewRows:
    """Whole rows since the last call; a torn last line waits for its end.

    The trainer appends to its tables, and replaces them when it resumes: a replaced file, which has another inode, is
    read from its beginning.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._inode, self._offset = path, 0, 0
        self._columns: list[str] = []

    def read(self) -> list[dict[str, str]]:
        """Values as text (blank: ""); nothing while the file is absent."""
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                if stat.st_ino != self._inode or stat.st_size < self._offset:
                    self.rewind()
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._inode, self._offset = stat.st_ino, self._offset + len(whole)
        lines = list(csv.reader(whole.decode(errors="replace").splitlines()))
        if lines and not self._columns:
            self._columns = lines.pop(0)
        return [dict(zip(self._columns, line, strict=False)) for line in lines]

    def rewind(self) -> None:
        """Read from the beginning next time."""
        self._offset, self._columns = 0, []
