"""PNG files by their chunks: parts of a file, without reading the rest.

Pillow refuses a picture whose texts are larger than 1 MiB, such as ComfyUI's workflows, and decodes the whole picture
to find its orientation, because that may be at the end.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
PIXELS = frozenset({b"IDAT", b"acTL", b"fcTL", b"fdAT"})
ORIENTATION_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""Text chunks in which programs write the orientation."""
_LONGEST_KEYWORD = max(map(len, ORIENTATION_TEXTS))


def without_texts(path: Path) -> BinaryIO | None:
    """The file in memory without texts that affect no pixel; None if it has none or is not a PNG."""
    with path.open("rb", buffering=0) as file:
        chunks = list(_chunks(file))
        kept = [chunk for chunk in chunks if not _is_plain_text(file, chunk)]
        return _copy(file, kept) if len(kept) < len(chunks) else None


def without_pixels(path: Path) -> BinaryIO | None:
    """Size, palette, colours and orientation, in memory: a PNG without pixels; None if it is not a PNG."""
    with path.open("rb", buffering=0) as file:
        chunks = list(_chunks(file))
        kept = [chunk for chunk in chunks if chunk.kind not in PIXELS and not _is_plain_text(file, chunk)]
        return _copy(file, kept) if chunks else None


class _Chunk(NamedTuple):
    """Where a chunk is: its length, kind and checksum are part of it. The last of a file may be cut off."""

    kind: bytes
    start: int
    length: int


def _chunks(file: BinaryIO) -> Iterator[_Chunk]:
    if _part(file, 0, len(SIGNATURE)) != SIGNATURE:
        return
    start = len(SIGNATURE)
    while len(head := _part(file, start, 8)) == 8:
        chunk = _Chunk(head[4:], start, int.from_bytes(head[:4], "big") + 12)
        yield chunk
        start += chunk.length


def _is_plain_text(file: BinaryIO, chunk: _Chunk) -> bool:
    return chunk.kind in TEXTS and not _part(file, chunk.start + 8, _LONGEST_KEYWORD).startswith(ORIENTATION_TEXTS)


def _copy(file: BinaryIO, chunks: Iterable[_Chunk]) -> BinaryIO:
    return io.BytesIO(SIGNATURE + b"".join(_part(file, chunk.start, chunk.length) for chunk in chunks))


def _part(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)
