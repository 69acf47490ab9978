"""JSON that somebody else wrote."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """What it holds.

    Raises:
        json.JSONDecodeError: it is none, or nested more deeply than Python reads.
        UnicodeDecodeError: bytes are no UTF-8.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise json.JSONDecodeError("Nested too deeply", "", 0) from None
