"""The machine while a run lives: a row of `system.csv` every ten seconds.

The trainer and every evaluator have a recorder, because a run lives while one of them does, with `run.py` or without.
On each machine the first one writes, by a lock; when its program ends or crashes, another takes over. A second machine
writes `system-2.csv`. Nothing that fails here reaches the program: a row that cannot be written is left out.

A row takes 1.3 ms of a core, and 60 bytes with 25 more for each GPU: 0.7 MB a day.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import shutil
import socket
import threading
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pynvml  # pyright: ignore[reportMissingTypeStubs]
from filelock import FileLock, Timeout

from shared.machine import hardware
from shared.machine.gpu_readings import bytes_by_pid, read_gpu
from shared.run_folder.heartbeat import process_alive, read_status, read_statuses
from shared.run_folder.records.process_status import ProcessStatus
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import GPU_COLUMNS, SYSTEM_COLUMNS, Appender, Value, read_rows, whole_lines, write_rows
from shared.run_folder.times import utc_now

ROW_SECONDS = 10.0
FIRST_SECONDS = 1.0
"""Before the first row: the load of the processors is measured since then."""
MAX_BYTES = 8 << 20
"""Of the file: ten days with one GPU. A longer one keeps every second row."""
ROWS_PER_SEARCH = 6
"""How often it is looked for programs that have no record of their own: a search costs 10 ms where much runs."""
JOIN_SECONDS = 2.0
MIB = 1 << 20

Row = dict[str, Value]
Pids = Mapping[str, Iterable[int]]

log = logging.getLogger(__name__)


@contextmanager
def recorded(run: RunDir) -> Generator[None]:
    """Record this machine while the block runs, unless another process of it does."""
    ended = threading.Event()
    thread = threading.Thread(target=_record, args=(run, ended), name="system-recorder", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(JOIN_SECONDS)  # a driver that hangs does not hold the program


def _record(run: RunDir, ended: threading.Event) -> None:
    """The thread: wait until this process is the one that writes, then write."""
    psutil.cpu_percent()
    if ended.wait(FIRST_SECONDS):
        return
    try:
        with ExitStack() as held:
            while (path := claimed(run, held)) is None:
                if ended.wait(ROW_SECONDS):
                    return
            Recorder(run, path).record_until(ended)
    except Exception:  # the edge of a thread: no program fails because its machine is not recorded
        log.warning("this machine is not recorded any more", exc_info=True)


def claimed(run: RunDir, held: ExitStack) -> Path | None:
    """The table that this process may write until `held` is closed; None while another process of this machine does."""
    host = re.sub(r"[^\w.-]", "_", socket.gethostname())
    if not _locked(run.processes / f".machine-{host}.lock", held):
        return None
    tables = (run.system_csv(machine) for machine in itertools.count(1))
    return next(table for table in tables if _locked(run.processes / f".{table.name}.lock", held))


def _locked(path: Path, held: ExitStack) -> bool:
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return False
    held.callback(lock.release)
    return True


class Recorder:
    """Measures this machine and writes rows into one table, whose only writer it is."""

    def __init__(self, run: RunDir, path: Path) -> None:
        self._run, self._path = run, path
        self._gpus = hardware.usable_handles()
        numbers = [number for number, _ in self._gpus]
        self._table = open_table(path, tuple(f"gpu{number}_{name}" for number in numbers for name in GPU_COLUMNS))
        self._last = 0.0
        self._until_search = 0
        self._found: dict[str, list[int]] = {}
        self._processes: dict[int, psutil.Process] = {}

    def record_until(self, ended: threading.Event) -> None:
        """A row now, every ten seconds, and one at the end."""
        self.append()
        while not ended.wait(ROW_SECONDS):
            self.append()
        self.append()

    def append(self) -> None:
        """Measure and write one row; it is left out if the disk is full or the folder gone."""
        now = time.monotonic()
        row = {"timestamp": utc_now(), "seconds": round(now - self._last, 1) if self._last else 0.0, **self._measure()}
        with contextlib.suppress(OSError):
            self._table.append(row)
            self._last = now
            if self._path.stat().st_size > MAX_BYTES:
                halve(self._path)

    def _measure(self) -> Row:
        memory, pids = psutil.virtual_memory(), self._pids()
        row: Row = {
            "cpu_percent": psutil.cpu_percent(),
            "memory_used_mib": round((memory.total - memory.available) / MIB),
            **{f"{program}_rss_mib": self._resident_mib(of) for program, of in pids.items()},
        }
        with contextlib.suppress(OSError):
            row["disk_free_mib"] = round(shutil.disk_usage(self._run.path).free / MIB)
        return row | gpu_cells(self._gpus, pids)

    def _pids(self) -> Pids:
        """Program → its processes on this machine."""
        supervisor = read_status(self._run, "supervisor")
        main = {
            "trainer": here([read_status(self._run, "trainer")]),
            "evaluator": here(read_statuses(self._run, "evaluator").values()),
            "supervisor": here([supervisor]),
        }
        if self._until_search <= 0:
            self._until_search = ROWS_PER_SEARCH
            self._found = children(main["supervisor"])
        self._until_search -= 1
        named = {"dashboard": self._found.get("dashboard", [])}
        return {program: {*of, *self._found.get(program, [])} for program, of in (main | named).items()}

    def _resident_mib(self, pids: Iterable[int]) -> int | None:
        resident = 0
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                process = self._processes.setdefault(pid, psutil.Process(pid))
                resident += process.memory_info().rss
        return round(resident / MIB) or None


def here(statuses: Iterable[ProcessStatus | None]) -> list[int]:
    """The pids of those that run on this machine."""
    local = [status for status in statuses if status and status.host == socket.gethostname()]
    return [status.pid for status in local if process_alive(status.pid, status.process_started)]


def children(supervisors: Iterable[int]) -> dict[str, list[int]]:
    """Program → the processes that `run.py` has started for it: the dashboard, and further processes of the trainer."""
    found: dict[str, list[int]] = {}
    for pid in supervisors:
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(pid).children():
                with contextlib.suppress(psutil.Error):
                    words = child.cmdline()
                    if "-m" in words[:-1]:
                        found.setdefault(words[words.index("-m") + 1], []).append(child.pid)
    return found


def gpu_cells(gpus: Iterable[tuple[int, Any]], pids: Pids) -> Row:
    """What NVML tells of each GPU, and of the trainer's and the evaluators' memory on all of them."""
    row: Row = {}
    taken: dict[int, int] = {}
    for number, handle in gpus:
        with contextlib.suppress(pynvml.NVMLError):
            gpu = read_gpu(handle)
            watts = None if gpu.watts is None else round(gpu.watts, 1)
            cells = (gpu.utilisation_percent, round(gpu.used_bytes / MIB), gpu.celsius, watts)
            row |= {f"gpu{number}_{name}": cell for name, cell in zip(GPU_COLUMNS, cells, strict=True)}
        for pid, size in bytes_by_pid(handle).items():
            taken[pid] = taken.get(pid, 0) + size
    for program in ("trainer", "evaluator"):
        held = sum(taken.get(pid, 0) for pid in pids.get(program, ()))
        row[f"{program}_gpu_mib"] = round(held / MIB) or None
    return row


def open_table(path: Path, gpu_columns: tuple[str, ...]) -> Appender:
    """The table, to be continued: columns that it lacks are added, and lines that are no rows go.

    Lines that are none are left by a loss of power; other columns come from another machine or another version.
    """
    header = tuple(whole_lines(path).partition(b"\n")[0].decode(errors="replace").split(","))
    known = header if header[0] == "timestamp" else ()
    columns = tuple(dict.fromkeys([*known, *SYSTEM_COLUMNS, *gpu_columns]))
    rows = read_rows(path) if known else []
    whole = [row for row in rows if is_row(row)]
    if whole and (columns != header or len(whole) < len(rows)):
        write_rows(path, columns, whole)
    elif not whole and header != columns:
        write_rows(path, columns, [])
    return Appender(path, columns)


def is_row(row: Mapping[str, Any]) -> bool:
    """Whether every cell after the time is a number or blank, and there are not too many of them."""
    with contextlib.suppress(TypeError, ValueError):
        [float(cell) for name, cell in row.items() if name != "timestamp" and cell]
        return bool(re.match(r"\d{4}-\d\d-\d\dT", row["timestamp"]))
    return False


def halve(path: Path) -> None:
    """Keep every second row; its seconds are those of both."""
    rows = read_rows(path)
    kept = [
        {**later, "seconds": float(before["seconds"] or 0) + float(later["seconds"] or 0)}
        for before, later in zip(rows[::2], rows[1::2], strict=False)
    ]
    write_rows(path, tuple(rows[0]), kept)
