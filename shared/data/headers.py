"""Sizes and colours of pictures from their headers, kept on disk like digests."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from shared.data.pictures import Header, read_header
from shared.files.file_facts import Remembered


class Headers(Remembered[Header]):
    """Call it with a picture: its header.

    Raises:
        DataError: when called, if the header cannot be read.
    """

    def __init__(self, path: Path) -> None:
        """path: where `save` keeps the facts."""
        super().__init__(path, read_header, _from_json)

    def of(self, pictures: Sequence[Path]) -> list[Header]:
        """Headers of all of them, read in parallel, because on a network disk each read waits for an answer."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(self, pictures))


def _from_json(fact: Any) -> Header:
    (width, height), is_converted, profile_fault = fact
    return Header((int(width), int(height)), bool(is_converted), profile_fault)
