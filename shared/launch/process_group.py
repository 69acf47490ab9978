"""One program as several processes of this machine: started together, ended together.

Each gets its rank through the variables that the launchers of torch and accelerate set. Those launchers end a job with
their own exit code, and kill processes that save for longer than half a minute after a signal; this one waits.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.launch import end_signals

HOST = "127.0.0.1"


@dataclass
class ProcessGroup:
    """Started processes, by rank. If one of them fails, the others are ended, because they could only wait for it."""

    members: Sequence[subprocess.Popen[bytes]]
    grace_seconds: float
    _failure: int = 0
    _deadline: float = field(default=float("inf"))

    @property
    def pids(self) -> list[int]:
        """Of those that have not ended."""
        return [member.pid for member in self.members if member.poll() is None]

    @property
    def returncode(self) -> int | None:
        """The first failure's exit code, negative for a signal, else 0; None while any of them runs."""
        return None if self.pids else self._failure

    def poll(self) -> int | None:
        """Check the processes; call it repeatedly. Returns `returncode`."""
        if not self._failure and (failure := self._look_for_failure()):
            self._failure, self._deadline = failure, time.monotonic() + self.grace_seconds
            self.send_signal(signal.SIGTERM)
        if time.monotonic() > self._deadline:
            self.kill()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """To each that still runs."""
        for member in self.members:
            if member.poll() is None:
                end_signals.send(member, number)

    def kill(self) -> None:
        """End each that still runs, at once."""
        for member in self.members:
            member.kill()

    def close(self) -> None:
        """Let go of the pipes to processes that have ended."""
        for member in self.members:
            if member.stdin:
                member.stdin.close()

    def wait(self) -> None:
        """Until all have ended."""
        for member in self.members:
            member.wait()
        self.poll()

    def _look_for_failure(self) -> int:
        """An exit code other than 0. Of several at once one other than 1, because processes that lose another one
        end with 1."""
        codes = [code for member in self.members if (code := member.poll())]
        return next((code for code in codes if code != 1), codes[0] if codes else 0)


def places(num_processes: int) -> list[dict[str, str]]:
    """The environment variables of each process; none for a single process."""
    if num_processes == 1:
        return [{}]
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    size = str(num_processes)
    everybody = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": HOST, "MASTER_PORT": str(port)}
    return [{**everybody, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(num_processes)]
