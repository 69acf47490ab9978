"""Trials on this machine, one at a time."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from shared.launch import end_signals
from shared.launch.supervisor import child_environment
from shared.sweeps.places.place import train_command


@dataclass
class Child:
    """A trial's `run.py train`."""

    process: subprocess.Popen[bytes]

    def poll(self) -> int | None:
        """See `Started`."""
        return self.process.poll()

    def end(self) -> None:
        """See `Started`."""
        if self.process.stdin:
            self.process.stdin.close()


class Here:
    """A child process at a time."""

    num_slots = 1

    def start(self, config: Path, log: Path) -> Child:
        """See `Place`. Ctrl-C of the terminal does not reach it."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            process = subprocess.Popen(
                train_command(config),
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=child_environment(None),
                **end_signals.apart(),
            )
        return Child(process)
