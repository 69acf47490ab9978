"""Text files in the encodings that programs write, and why one cannot be read."""

from __future__ import annotations

import codecs
import json
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


def why(error: OSError | ValueError) -> str:
    """Why a text, or the JSON in it, cannot be read, for messages behind the file's name."""
    if isinstance(error, UnicodeDecodeError):
        return f"{error}; save it as UTF-8 (Excel: CSV UTF-8)"
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON: {error}"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
