"""PNG files by their chunks: parts of one, made without reading the rest.

Pillow refuses a picture whose texts are larger than 1 MiB, such as ComfyUI's workflows, and decodes the whole picture
to find how it is turned, because that may stand at the end.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
ORIENTATION_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""Texts in which programs write how a picture is turned."""
_LONGEST_KEYWORD = max(map(len, ORIENTATION_TEXTS))


def without_texts(path: Path) -> BinaryIO | None:
    """The file in memory without texts that no pixel depends on; None: it has none, or is no PNG."""
    with path.open("rb") as file:
        if not any(_is_plain_text(file, kind, start) for kind, start, _ in _chunks(file)):
            return None
        kept = io.BytesIO()
        kept.write(SIGNATURE)
        for kind, start, length in _chunks(file):
            if not _is_plain_text(file, kind, start):
                kept.write(_part(file, start, length))
    kept.seek(0)
    return kept


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Kind, first byte and length of each chunk, its length, kind and checksum included; the last may be cut off."""
    file.seek(0)
    if file.read(len(SIGNATURE)) != SIGNATURE:
        return
    start = len(SIGNATURE)
    while len(head := _part(file, start, 8)) == 8:
        length = int.from_bytes(head[:4], "big") + 12
        yield head[4:], start, length
        start += length


def _is_plain_text(file: BinaryIO, kind: bytes, start: int) -> bool:
    return kind in TEXTS and not _part(file, start + 8, _LONGEST_KEYWORD).startswith(ORIENTATION_TEXTS)


def _part(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)
