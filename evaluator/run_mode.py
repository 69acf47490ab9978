"""How long this evaluator works: on and on, until nothing is left, or not any longer. Signals change it."""

from __future__ import annotations

import contextlib
import queue
import signal
from types import FrameType
from typing import Literal

from shared.launch import end_signals, parent_watch


class Wake:
    """An event that a signal handler may set.

    `threading.Event.set` holds a lock: a second signal that interrupts it in the handler of the first waits forever.
    `SimpleQueue.put` is reentrant.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """End the current wait, or else the next one."""
        self._calls.put(None)

    def clear(self) -> None:
        """Forget every call so far."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._calls.get_nowait()

    def wait(self, seconds: float) -> None:
        """Wait until `set` is called, or for `seconds`."""
        with contextlib.suppress(queue.Empty):
            self._calls.get(timeout=seconds)


class RunMode:
    """SIGTERM: evaluate what is left, then end. SIGINT, CTRL_BREAK of Windows, or the end of the supervisor: end after
    the current evaluation.
    """

    def __init__(self, *, follow: bool) -> None:
        self.once = not follow
        self.current: Literal["follow", "drain", "end"] = "follow" if follow else "drain"
        self.wake = Wake()
        for number in end_signals.ending():
            if number.name != "SIGHUP":
                signal.signal(number, self._on_signal)
        parent_watch.watch(lambda: self._change("end"))

    def _change(self, mode: Literal["drain", "end"]) -> None:
        self.current = "end" if "end" in (mode, self.current) else mode
        self.wake.set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._change("drain" if number == signal.SIGTERM else "end")
