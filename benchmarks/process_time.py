"""What a piece of work costs a processor, whatever else the machine does."""

from __future__ import annotations

import time
from collections.abc import Callable


def milliseconds(work: Callable[[], object], times: int = 3) -> float:
    """Process time of one call: the fastest of some."""
    found: list[float] = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(1000 * (time.process_time() - start))
    return min(found)
