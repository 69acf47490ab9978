"""What a sweep asks of the place where its trials run.

A trial is `run.py train CONFIG --no-dashboard`. Whoever starts it holds its standard input: when that is closed,
because the sweep has ended or was killed, the trial saves and ends. To stop it, the sweep asks in its run folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol

from shared.launch.supervisor import ROOT


class Started(Protocol):
    """A trial at work."""

    def poll(self) -> int | None:
        """The exit code, negative where it was killed; None while it runs."""
        ...

    def end(self) -> None:
        """Let it end by itself as soon as it can; it is not waited for."""
        ...


class Place(Protocol):
    """Starts trials."""

    @property
    def num_slots(self) -> int:
        """Trials at once, as far as there is room by now."""
        ...

    def start(self, config: Path, log: Path) -> Started:
        """Begin a trial, or resume it. log: takes what it says."""
        ...


def train_command(config: Path | str) -> list[str]:
    """Of a trial, with this interpreter."""
    return [sys.executable, str(ROOT / "run.py"), "train", str(config), "--no-dashboard"]
