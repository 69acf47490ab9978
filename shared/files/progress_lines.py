"""Long work, told in a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Told how much is done, of how much."""
FIRST_SECONDS, EVERY_SECONDS = 1.0, 10.0


def spoken(say: Callable[[str], object], what: str, now: Callable[[], float] = time.monotonic) -> Progress:
    """Says `what` and the numbers after a second and every ten; nothing of work that takes less."""
    due = now() + FIRST_SECONDS

    def tell(done: int, total: int) -> None:
        nonlocal due
        if now() >= due and done < total:
            say(f"{what}: {done:,} of {total:,}")
            due = now() + EVERY_SECONDS

    return tell
