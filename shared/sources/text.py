"""Text files as people's programs write them."""

from __future__ import annotations

import codecs
from pathlib import Path


def read_text(path: Path) -> str:
    """The file in UTF-8, or in UTF-16 where it begins with that mark, as Excel and Notepad write it.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read, or is in neither.
    """
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")
