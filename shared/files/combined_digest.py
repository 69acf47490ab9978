"""One digest for many."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def combined_digest(parts: Iterable[str]) -> str:
    """sha256 over the sorted lines."""
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()
