"""Sizes and colours of pictures from their headers, remembered as digests are."""

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
        """path: where `save` keeps what was learned."""
        super().__init__(path, read_header, _from_json)

    def of(self, pictures: Sequence[Path]) -> list[Header]:
        """Of all of them, read side by side: on a network disk each waits for an answer."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(self, pictures))


def _from_json(fact: Any) -> Header:
    (width, height), is_converted, profile_fault = fact
    return Header((int(width), int(height)), bool(is_converted), profile_fault)
