"""What this evaluator has been told: go on, evaluate what is left, or end. Signals say it, and a lost supervisor."""

from __future__ import annotations

import contextlib
import queue
import signal
from types import FrameType
from typing import Literal

from shared.launch import parent_watch


class Wake:
    """An event that a signal handler may set.

    `threading.Event.set` holds a lock: a second signal that interrupts it in the handler of the first waits for ever.
    `SimpleQueue.put` is made to be interrupted by itself.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """End the wait at hand, or else the next one."""
        self._calls.put(None)

    def clear(self) -> None:
        """Forget every call so far."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._calls.get_nowait()

    def wait(self, seconds: float) -> None:
        """Until called, or for so long."""
        with contextlib.suppress(queue.Empty):
            self._calls.get(timeout=seconds)


class RunMode:
    """SIGTERM: evaluate what is left, then end. SIGINT, or a lost supervisor: end after the evaluation at hand."""

    def __init__(self, *, follow: bool) -> None:
        self.once = not follow
        self.current: Literal["follow", "drain", "end"] = "follow" if follow else "drain"
        self.wake = Wake()
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        parent_watch.watch(lambda: self._order("end"))

    def _order(self, order: Literal["drain", "end"]) -> None:
        self.current = "end" if "end" in (order, self.current) else order
        self.wake.set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._order("drain" if number == signal.SIGTERM else "end")
