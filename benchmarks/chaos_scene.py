"""The run that chaos happens to: starts the same command again and again, and looks at the seven invariants."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil

import tasks
from shared.launch import integrity
from shared.launch.integrity import Problem
from shared.run_folder.heartbeat import is_alive, read_status, read_statuses
from shared.run_folder.pending import left_to_evaluate
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows

HEALING = {"leftovers", "tables"}
"""Invariants that a kill may break until the next start: half lines, staging folders, claims."""
END_SECONDS = 60.0
"""For the programs of a `run.py` that was killed to save and end."""
RESTART_SECONDS = 20.0
"""For a program that has ended to be started again: an evaluator may owe the row of a result until then."""
SETTLE_SECONDS = 180.0
TICK_SECONDS = 0.1
MAX_IDLE_STARTS = 6
"""Starts in a row that neither train nor evaluate anything, until the round is given up."""


class Process(Protocol):
    """`subprocess.Popen`, as far as it is needed."""

    @property
    def pid(self) -> int: ...  # noqa: D102

    def poll(self) -> int | None: ...  # noqa: D102


@dataclass
class Broken:
    """Something that was damaged: `check` names it until it is repaired."""

    name: str
    """A part of what `check` says."""
    by_hand: bool
    """Whether `check --repair` is needed; else the next start mends it."""
    is_named: bool = True
    """Whether `check` must name it: a number that was changed in a table that is derived is not found."""


@dataclass
class Scene:
    """One run under chaos."""

    run: RunDir
    launch: Callable[[], Process]
    """Start `run.py train CONFIG`, the same each time."""
    repair: Callable[[], str]
    """`run.py check RUN --repair`; returns what it said."""
    follow: Callable[[], Process] | None = None
    """Start `run.py copy RUN PLACE --follow`."""
    place: Path | None = None
    """PLACE."""
    disk: Path | None = None
    """A small file system of its own that the run folder lies on."""
    clock: Path | None = None
    """The file with the seconds by which the programs' clocks are shifted."""
    program: Process | None = None
    follower: Process | None = None
    family: dict[int, psutil.Process] = field(default_factory=dict[int, psutil.Process])
    broken: list[Broken] = field(default_factory=list[Broken])
    lost: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    """Rows that a damaged file costs: the table's name and the step."""
    proven: set[int] = field(default_factory=set[int])
    """Checkpoints that were seen and not damaged since: training never begins before the newest of them."""
    violations: list[str] = field(default_factory=list[str])
    passing: list[str] = field(default_factory=list[str])
    """Problems that `check` named for a moment only."""
    starts: int = 0
    _idle_starts: int = 0
    _progress: tuple[int, int] = (0, 0)

    def start(self) -> None:
        """Start the command, and the follower if it has ended."""
        self.program = self.launch()
        self.starts += 1
        if self.follow and (self.follower is None or self.follower.poll() is not None):
            self.follower = self.follow()
        self.look()

    def look(self) -> None:
        """Remember every process that there is, and every checkpoint."""
        for process in (self.program, self.follower):
            if process is None or process.poll() is not None:
                continue
            try:
                children = psutil.Process(process.pid).children(recursive=True)
            except psutil.NoSuchProcess:
                continue
            self.family.update({child.pid: child for child in children})
        self.proven |= steps_in(self.run.checkpoints)

    def pids(self, role: str) -> list[int]:
        """Of the living programs of a role; `run.py` and `copy` as well."""
        if role == "run.py":
            return [self.program.pid] if self.program and self.program.poll() is None else []
        if role == "copy":
            return [self.follower.pid] if self.follower and self.follower.poll() is None else []
        if role == "dashboard":
            children = [child for child in self.family.values() if alive(child)]
            return [child.pid for child in children if any("dashboard" in part for part in command_of(child))]
        if not self.run.record.is_file():
            return []
        if role == "tracker":
            found = (read_status(self.run, "tracker", name) for name in self.run.read_config().run.trackers)
            return [status.pid for status in found if status and is_alive(status)]
        found = read_statuses(self.run, "trainer" if role == "trainer" else "evaluator").values()
        return [status.pid for status in found if is_alive(status)]

    def tick(self) -> bool:
        """A moment passes; a command that has ended is started again, as a person would. True: the run is done."""
        self.look()
        time.sleep(TICK_SECONDS)
        if self.program is None:
            self.start()
        elif (code := self.program.poll()) is not None:
            self.require_nobody(f"after run.py ended with {code}")
            if code == 0 and self.is_finished():
                return True
            self._require_progress(code)
            self.start()
        return False

    def wait(self, seconds: float, steps: int | None = None) -> bool:
        """Let time pass, or so many steps of training, if these come first; True: the run is done."""
        deadline, last = time.monotonic() + seconds, self.last_step()
        while time.monotonic() < deadline and (steps is None or self.last_step() - last < steps):
            if self.tick():
                return True
        return False

    def is_finished(self) -> bool:
        """Trained to the last step, and everything evaluated."""
        if not self.run.record.is_file():
            return False
        rows = read_rows(self.run.train_csv)
        trained = bool(rows) and int(rows[-1]["step"]) >= self.run.read_config().train.max_train_steps
        return trained and not left_to_evaluate(self.run)

    def require_nobody(self, when: str) -> None:
        """I5: every process of the run ends."""
        deadline = time.monotonic() + END_SECONDS
        own = self.follower.pid if self.follower else 0
        while left := [one for one in self.family.values() if one.pid != own and alive(one)]:
            if time.monotonic() > deadline:
                told = ", ".join(f"{one.pid} {' '.join(command_of(one))[-60:]} ({one.status()})" for one in left)
                self.violations.append(f"I5 {when}: still alive: {told}")
                for one in left:
                    one.kill()
                break
            time.sleep(TICK_SECONDS)
        self.family.clear()

    def bring_down(self, number: signal.Signals) -> int | None:
        """End the command by this signal, and wait until nobody is left."""
        if self.program is None:
            return None
        send(self.program.pid, number)
        deadline = time.monotonic() + SETTLE_SECONDS
        while (code := self.program.poll()) is None:
            self.look()
            time.sleep(TICK_SECONDS)
            if time.monotonic() > deadline:
                self.violations.append(f"run.py does not end within {SETTLE_SECONDS:.0f} s of {number.name}")
                send(self.program.pid, signal.SIGKILL)
        self.require_nobody(f"after {number.name} to run.py")
        self.program = None
        return code

    def close(self) -> None:
        """End what is left."""
        for process in (self.program, self.follower):
            if process and process.poll() is None:
                send(process.pid, signal.SIGTERM)
        self.require_nobody("at the end of the round")

    def last_step(self) -> int:
        """That training has reached."""
        rows = read_rows(self.run.train_csv)
        return int(rows[-1]["step"]) if rows else 0

    def problems(self) -> list[Problem]:
        """Of all invariants that `check` looks at, without what was damaged and is not repaired yet."""
        if not self.run.record.is_file():
            return []
        found = integrity.check(self.run, tasks.find(self.run.read_config().run.task))
        return [problem for problem in found if not any(one.name in problem.text for one in self.broken)]

    def forget_mended(self) -> None:
        """What `check` no longer names is no longer broken."""
        broken, self.broken = self.broken, []
        named = "\n".join(map(str, self.problems()))
        self.broken = [one for one in broken if one.name in named]

    def check_at_once(self, when: str) -> None:
        """What must hold in this very moment, whoever was killed; what is named for a moment only is kept apart."""
        found = {str(problem) for problem in self.problems() if problem.invariant not in HEALING}
        if found:
            lasting, deadline = found, time.monotonic() + RESTART_SECONDS
            while lasting and time.monotonic() < deadline:
                time.sleep(0.5)
                lasting = {str(problem) for problem in self.problems()} & lasting
            self.violations += [f"{when}: {text}" for text in sorted(lasting)]
            self.passing += [f"{when}: {text}" for text in sorted(found - lasting)]
        self._require_no_step_back(when)

    def settle(self, when: str) -> tuple[float, bool]:
        """Until all invariants hold again: the seconds it took, and whether the run is done."""
        begun, done = time.monotonic(), False
        while found := self.problems():
            if time.monotonic() - begun > SETTLE_SECONDS:
                self.violations += [f"{when}: not whole after {SETTLE_SECONDS:.0f} s: {problem}" for problem in found]
                break
            done = self.wait(0.5)
            if done:
                found = self.problems()
                self.violations += [f"{when}: not whole at the end: {problem}" for problem in found]
                break
        self.forget_mended()
        self._require_no_step_back(when)
        return time.monotonic() - begun, done

    def _require_no_step_back(self, when: str) -> None:
        """I3: no row of a step that a checkpoint holds is lost."""
        steps = [int(row["step"]) for row in read_rows(self.run.train_csv)]
        newest, last = max(self.proven, default=0), max(steps, default=0)
        if last < newest:
            self.violations.append(f"I3 {when}: the rows end at step {last}, a checkpoint of step {newest} was there")

    def _require_progress(self, code: int) -> None:
        """Raises RuntimeError: the command fails again and again without doing anything."""
        progress = (len(read_rows(self.run.train_csv)), len(steps_in(self.run.evaluations)))
        self._idle_starts = 0 if progress != self._progress else self._idle_starts + 1
        self._progress = progress
        if self._idle_starts >= MAX_IDLE_STARTS:
            raise RuntimeError(f"{self._idle_starts} starts without progress, the last with exit code {code}")


def alive(process: psutil.Process) -> bool:
    """Whether it runs and is no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command_of(process: psutil.Process) -> list[str]:
    """Its arguments; empty: it has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def send(pid: int, number: signal.Signals) -> bool:
    """Whether there was such a process."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def pick(draw: random.Random, things: Iterable[Path]) -> Path | None:
    """One of them, by the seed; None: there are none."""
    ordered = sorted(things)
    return draw.choice(ordered) if ordered else None
