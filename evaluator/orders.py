"""What this evaluator has been told: go on, judge what is left, or end. Signals say it, and a lost supervisor."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Literal

from shared import lifeline


class Orders:
    """SIGTERM: judge what is left, then end. SIGINT, or a lost supervisor: end after the evaluation at hand."""

    def __init__(self, *, follow: bool) -> None:
        self.once = not follow
        self.current: Literal["follow", "drain", "end"] = "follow" if follow else "drain"
        self.wake = threading.Event()
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        lifeline.watch(lambda: self._order("end"))

    def _order(self, order: Literal["drain", "end"]) -> None:
        self.current = "end" if "end" in (order, self.current) else order
        self.wake.set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._order("drain" if number == signal.SIGTERM else "end")
