"""Progress of long work, one line at a time."""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with the amount done and the total."""
FIRST_SECONDS, EVERY_SECONDS = 1.0, 10.0


def spoken(say: Callable[[str], object], what: str, now: Callable[[], float] = time.monotonic) -> Progress:
    """Says `what` and the numbers after one second and then every ten seconds; nothing if the work is shorter."""
    due = now() + FIRST_SECONDS

    def tell(done: int, total: int) -> None:
        nonlocal due
        if now() >= due and done < total:
            say(f"{what}: {done:,} of {total:,}")
            due = now() + EVERY_SECONDS

    return tell
