"""Which programs work in a run folder, and whether they are alive.

A program holds its role with an OS lock, which the system releases when the process ends, and writes its progress to
`processes/<role>.json`. A separate thread writes the heartbeat, the work itself raises the progress counter: a program
that hangs has a fresh heartbeat and a counter that does not change.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import Any

import psutil
from filelock import FileLock, Timeout

from shared.errors import RunFolderError
from shared.run_folder.records.process_status import FINAL_STATES, ProcessStatus, Role, State
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import seconds_since, utc_now

Slot = int | str
"""Which of several programs of one role: a number of an evaluator, from 1, or the name of a tracker."""

HEARTBEAT_SECONDS = 1.0
NOTICES_KEPT = 20
STALE_SECONDS = 15.0
SILENT_SECONDS = 60.0
"""Without a heartbeat for this long, a program on another machine counts as ended. Clocks of machines differ by
less."""
LEAVING_SECONDS = 5.0


class Status:
    """This program's own `processes/<role>.json`, kept fresh by a thread."""

    def __init__(self, run: RunDir, role: Role, run_id: str, slot: Slot = 1) -> None:
        self._path = run.processes / f"{_name(role, slot)}.json"
        self._lock = threading.Lock()
        self._closing = threading.Event()
        now = utc_now()
        self._record = ProcessStatus(
            role=role,
            run_id=run_id,
            pid=os.getpid(),
            host=socket.gethostname(),
            process_started=psutil.Process().create_time(),
            started=now,
            state="starting",
            heartbeat=now,
        )
        self._write()
        self._thread = threading.Thread(target=self._beat, name=f"{role}-heartbeat", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """Of its record, and of its log: `evaluator-2`."""
        return self._path.stem

    @property
    def record(self) -> ProcessStatus:
        """The last record written."""
        return self._record

    def update(self, state: State | None = None, **changes: Any) -> None:
        """Change fields; a new state is written at once, the rest with the next heartbeat."""
        with self._lock:
            new_state = state is not None and state != self._record.state
            if state is not None:
                changes["state"] = state
            self._record = self._record.model_copy(update={**changes, "progress": self._record.progress + 1})
        if new_state:
            self._write()

    def notice(self, text: str) -> None:
        """Record a message for a person; the terminal prints it. Only the newest are kept; the log has all of them."""
        if len(self._record.notices) < NOTICES_KEPT:
            self.update(notices=(*self._record.notices, text))
            self._write()

    def close(self, state: State, message: str = "") -> None:
        """Write the last record; on a full disk it is lost, but the log has it."""
        self._closing.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self.update(state, message=message)
            self._write()

    def _beat(self) -> None:
        while not self._closing.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):  # a full disk is for the next save to report
                self._write()

    def _write(self) -> None:
        with self._lock:
            self._record = self._record.model_copy(update={"heartbeat": utc_now()})
            self._record.write(self._path)


@contextmanager
def hold_role(run: RunDir, role: Role, name: str = "") -> Generator[Status]:
    """Hold the role, under this name, as the only program in this run folder; an error is recorded as state `failed`
    with its text.

    Raises:
        RunFolderError: a living process has the role; its pid is named.
    """
    with vacant(run, role, name), _serving(run, role, name or 1) as status:
        yield status


@contextmanager
def hold_slot(run: RunDir, role: Role) -> Generator[Status]:
    """Hold the role as one of any number of programs, in the first free slot: `<role>.json`, `<role>-2.json` …"""
    run.processes.mkdir(parents=True, exist_ok=True)
    slots = ((slot, _lock(run, role, slot)) for slot in itertools.count(1))
    slot, lock = next((slot, lock) for slot, lock in slots if lock is not None)
    try:
        with _serving(run, role, slot) as status:
            yield status
    finally:
        lock.release()


@contextmanager
def vacant(run: RunDir, role: Role, name: str = "") -> Generator[None]:
    """Keep this role free, under this name or else in every slot, while the block runs.

    Raises:
        RunFolderError: a living process has it; its pid is named.
    """
    run.processes.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        for slot in [name] if name else sorted({1, *_slots(run, role)}):
            lock = _lock(run, role, slot) or _lock_of_one_leaving(run, role, slot)
            if lock is None:
                holder = read_status(run, role, slot)
                pid = f"pid {holder.pid} on {holder.host}" if holder else "another process"
                raise RunFolderError(
                    f"{run.path} is in use: {pid} is its {role}",
                    f"stop it with `python run.py stop {run.path}`, or wait",
                )
            stack.callback(lock.release)
        yield


@contextmanager
def _serving(run: RunDir, role: Role, slot: Slot) -> Generator[Status]:
    status = Status(run, role, run.read_record().run_id, slot)
    try:
        yield status
    except BaseException as error:
        status.close("failed", str(error) or type(error).__name__)
        raise
    if status.record.state not in FINAL_STATES:
        status.close("finished", status.record.message)


def _lock(run: RunDir, role: Role, slot: Slot) -> FileLock | None:
    """The slot's lock, taken; None if a living process has it."""
    lock = FileLock(run.processes / f".{_name(role, slot)}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def _lock_of_one_leaving(run: RunDir, role: Role, slot: Slot) -> FileLock | None:
    """The lock of a program that has written its last record and will release it in a moment."""
    deadline = time.monotonic() + LEAVING_SECONDS
    while (holder := read_status(run, role, slot)) and holder.state in FINAL_STATES and time.monotonic() < deadline:
        time.sleep(0.05)
        if lock := _lock(run, role, slot):
            return lock
    return None


def _slots(run: RunDir, role: Role) -> list[int]:
    """Slots beyond the first that were ever taken."""
    numbers = (path.stem.removeprefix(f".{role}-") for path in run.processes.glob(f".{role}-*.lock"))
    return [int(number) for number in numbers if number.isdecimal()]


def _name(role: Role, slot: Slot) -> str:
    return role if slot == 1 else f"{role}-{slot}"


def someone_serves(run: RunDir, role: Role) -> bool:
    """Whether a living process has this role, in any slot."""
    return any(map(is_alive, read_statuses(run, role).values()))


def snapshots_may_come(run: RunDir) -> bool:
    """Whether a trainer is at work, or a program that takes another one's snapshots."""
    return is_alive(read_status(run, "trainer")) or is_alive(read_status(run, "importer"))


def read_status(run: RunDir, role: Role, slot: Slot = 1) -> ProcessStatus | None:
    """The last record of a role's program; None if it never ran or its record is unreadable."""
    try:
        return ProcessStatus.read(run.processes / f"{_name(role, slot)}.json")
    except (FileNotFoundError, RunFolderError):
        return None


def read_statuses(run: RunDir, role: Role) -> dict[int, ProcessStatus]:
    """The last record of each program of a role, by slot; without those that never ran or are unreadable."""
    statuses = {slot: read_status(run, role, slot) for slot in sorted({1, *_slots(run, role)})}
    return {slot: status for slot, status in statuses.items() if status}


def read_trackers(run: RunDir) -> dict[str, ProcessStatus]:
    """The last record of each follower that is alive, by the tracker's name."""
    names = (path.stem.removeprefix("tracker-") for path in sorted(run.processes.glob("tracker-*.json")))
    statuses = {name: read_status(run, "tracker", name) for name in names}
    return {name: status for name, status in statuses.items() if status and is_alive(status)}


def left_behind(run: RunDir) -> Collection[ProcessStatus]:
    """Records of programs that have ended: a new session must not report them as its own."""
    roles: tuple[Role, ...] = ("trainer", "importer", "evaluator")
    return [status for role in roles for status in read_statuses(run, role).values() if not is_alive(status)]


def is_alive(status: ProcessStatus | None) -> bool:
    """Whether the process that wrote this still runs: same pid, same start time (pids are reused).

    A process on another machine counts as alive while its heartbeat is fresh: its run folder may have been copied, or
    the machine was a container that no longer exists.
    """
    if status is None or status.state in FINAL_STATES:
        return False
    if status.host != socket.gethostname():
        return seconds_since(status.heartbeat) < SILENT_SECONDS
    return process_alive(status.pid, status.process_started)


def process_alive(pid: int, started: float) -> bool:
    """Whether the process with this pid and start time (epoch seconds) runs and is no zombie."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
