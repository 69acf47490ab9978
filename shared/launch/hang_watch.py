"""When a program hangs: its counter of work (`processes/<role>.json`) stands still for longer than its work may take.

What it may take is `run.hang_seconds`, several times that for what takes long (`ALLOWANCES`), and in any case ten times
what this run has been seen to take. Time is counted from one heartbeat of `run.py` that reaches the disk to the next,
five seconds at most each. So a laptop that sleeps, a clock that jumps, a `run.py` that is stopped and a full disk, on
which no program can say what it has done, are no hang. Nor is a program that is stopped (SIGSTOP, a debugger).
"""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass, field

import psutil

from shared.followers.alerts import tail_of
from shared.run_folder.heartbeat import read_status, read_statuses
from shared.run_folder.records.process_status import FINAL_STATES, ProcessStatus, Role, State
from shared.run_folder.run_dir import RunDir

ALLOWANCES: dict[State | None, float] = {
    None: 6.0,  # no record yet: libraries are loaded
    "starting": 36.0,  # an evaluator loads its models, and downloads encoders
    "preparing": 36.0,  # a base model is downloaded and loaded, pictures are encoded
    "training": 1.0,  # a step, a batch of the held-out loss
    "paused": 1.0,
    "waiting": 1.0,  # for the card; both are counted several times a second
    "saving": 6.0,  # the last save, perhaps over a network
    "evaluating": 6.0,  # all pictures of a snapshot
    "idle": 1.0,  # until the next scan of the folder, or a rebuild of the tables
}
"""Times `run.hang_seconds`."""
FIRST_STEP = 6.0
"""Of a session: what is compiled is compiled in it."""
ENDED = 1.0
"""After its last record, until its process ends."""
FACTOR = 10.0
"""What was seen in this run may take so many times as long."""
MOST_SECONDS = 5.0
STOPPED = {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}


@dataclass(frozen=True)
class Hang:
    """A program that hangs."""

    seconds: float
    """Without any work."""
    state: State | None
    step: int

    def __str__(self) -> str:
        doing = f"{self.state} at step {self.step}" if self.state and self.step else self.state or "loading"
        return f"has done nothing for {self.seconds:.0f} s ({doing})"


@dataclass
class _Seen:
    """A program when its counter last changed."""

    identity: tuple[int, float]
    counter: int
    state: State | None
    at: float
    step: int
    first_step: int
    """At which its state began."""

    @property
    def is_first_step(self) -> bool:
        """Of a session, or after a pause."""
        return self.state == "training" and self.step == self.first_step


@dataclass
class HangWatch:
    """Looks at the programs of one run; asked several times a second."""

    run: RunDir
    hang_seconds: float | None
    """None: no program ever counts as hung."""
    rescan_seconds: float
    _seen: dict[Role, _Seen] = field(default_factory=dict[Role, _Seen])
    _longest: dict[tuple[Role, State | None], float] = field(default_factory=dict[tuple[Role, State | None], float])
    _seconds: float = 0.0
    _heartbeat: str = ""
    _beaten: float = field(default_factory=time.monotonic)

    def look(self, role: Role, pids: Collection[int]) -> Hang | None:
        """Whether the program of this role, whose processes these are, hangs."""
        now = self._now()
        if self.hang_seconds is None or not pids:
            return None
        status = self._status(role, pids)
        seen = self._seen.get(role)
        mark = _mark(status, pids)
        if seen is None or mark != (seen.identity, seen.counter, seen.state) or any(map(_is_stopped, pids)):
            self._seen[role] = self._note(role, status, mark, seen, now)
            return None
        still = now - seen.at
        if still <= self._limit(role, seen, self.hang_seconds):
            return None
        return Hang(still, seen.state, status.step if status else 0)

    def forget(self, role: Role) -> None:
        """It is ended, and another one takes its place."""
        self._seen.pop(role, None)

    def _now(self) -> float:
        """Seconds in which this program ran and could write."""
        own, moment = read_status(self.run, "supervisor"), time.monotonic()
        if own and own.heartbeat != self._heartbeat:
            self._seconds += min(moment - self._beaten, MOST_SECONDS)
            self._heartbeat, self._beaten = own.heartbeat, moment
        return self._seconds

    def _status(self, role: Role, pids: Collection[int]) -> ProcessStatus | None:
        """Its own record; None: it has not written one."""
        here = socket.gethostname()
        found = read_statuses(self.run, role).values()
        return next((one for one in found if one.pid in pids and one.host == here), None)

    def _note(self, role: Role, status: ProcessStatus | None, mark: _Mark, seen: _Seen | None, now: float) -> _Seen:
        identity, counter, state = mark
        step = status.step if status else 0
        if seen is None or (identity, state) != (seen.identity, seen.state):
            return _Seen(identity, counter, state, now, step, step)
        if counter != seen.counter and not seen.is_first_step:
            key = (role, state)
            self._longest[key] = max(now - seen.at, self._longest.get(key, 0.0))
        return _Seen(identity, counter, state, now, step, seen.first_step)

    def _limit(self, role: Role, seen: _Seen, seconds: float) -> float:
        allowance = ENDED if seen.state in FINAL_STATES else ALLOWANCES.get(seen.state, max(ALLOWANCES.values()))
        if seen.is_first_step:
            allowance = FIRST_STEP
        measured = max(self._longest.get((role, seen.state), 0.0), self._recorded(seen.state))
        least = FACTOR * self.rescan_seconds if seen.state == "idle" else 0.0
        return max(allowance * seconds, FACTOR * measured, least)

    def _recorded(self, state: State | None) -> float:
        """The longest that the run's tables tell, of earlier sessions too."""
        if state == "training":
            return max(_longest(self.run, "train.csv", "step_seconds"), _longest(self.run, "validation.csv", "seconds"))
        return _longest(self.run, "metrics.csv", "evaluation_seconds") if state == "evaluating" else 0.0


_Mark = tuple[tuple[int, float], int, State | None]


def _mark(status: ProcessStatus | None, pids: Collection[int]) -> _Mark:
    """Who it is, its counter, its state."""
    if status is None:
        return (min(pids), 0.0), -1, None
    return (status.pid, status.process_started), status.progress, status.state


def _longest(run: RunDir, table: str, column: str) -> float:
    """Of its last rows, seconds; 0: there are none."""
    longest = 0.0
    for row in tail_of(run.path / table):
        with contextlib.suppress(ValueError, KeyError):
            seconds = float(row[column])
            longest = max(longest, seconds if math.isfinite(seconds) else 0.0)
    return longest


def _is_stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() in STOPPED
    except psutil.NoSuchProcess:
        return False
