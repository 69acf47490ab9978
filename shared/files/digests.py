"""SHA-256 of files, kept on disk, so that 10 GB are not read at every start."""

from __future__ import annotations

from pathlib import Path

from shared.files.file_facts import Remembered
from shared.files.publication import sha256


class Digests(Remembered[str]):
    """Call it with a file: sha256 of its content, in hex."""

    def __init__(self, path: Path) -> None:
        """path: where `save` keeps what was learned."""
        super().__init__(path, lambda file: sha256(file), str)
