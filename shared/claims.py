"""Who evaluates what: a claim per step with a lease, so that any number of evaluators share one folder.

Taking, stealing and dropping happen under one file lock held for milliseconds. A claim is dead when its process is (on
this machine) or when nobody has renewed it for `lease_seconds` (from another). A thief and a late owner may both
finish: publication by rename lets only the first of them in.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock

from shared.errors import RunFolderError
from shared.records import Record
from shared.rundir import RunDir, step_name
from shared.status import process_alive

LEASE_SECONDS = 60.0


class Claim(Record):
    """`.claims/step-N.json`."""

    step: int
    host: str
    pid: int
    process_started: float


@contextmanager
def claimed(run: RunDir, step: int, lease_seconds: float = LEASE_SECONDS) -> Generator[bool]:
    """Hold the claim on a step while the block runs; yields False if another evaluator has it."""
    path = run.claims / f"{step_name(step)}.json"
    mine = Claim(step=step, host=socket.gethostname(), pid=os.getpid(), process_started=psutil.Process().create_time())
    if not _take(run, path, mine, lease_seconds):
        yield False
        return
    done = threading.Event()
    renewer = threading.Thread(target=_renew, args=(path, done, lease_seconds), daemon=True)
    renewer.start()
    try:
        yield True
    finally:
        done.set()
        renewer.join()
        _drop(run, path, mine)


def claimed_steps(run: RunDir, lease_seconds: float = LEASE_SECONDS) -> set[int]:
    """Steps that a living evaluator is at work on."""
    claims = ((path, _read(path)) for path in run.claims.glob("step-*.json"))
    return {claim.step for path, claim in claims if claim and _holds(path, claim, lease_seconds)}


def _take(run: RunDir, path: Path, mine: Claim, lease_seconds: float) -> bool:
    run.claims.mkdir(exist_ok=True)
    with FileLock(run.claims / ".lock"):
        current = _read(path)
        if current and _holds(path, current, lease_seconds):
            return False
        mine.write(path)
        return True


def _drop(run: RunDir, path: Path, mine: Claim) -> None:
    with FileLock(run.claims / ".lock"):
        if _read(path) == mine:
            path.unlink(missing_ok=True)


def _read(path: Path) -> Claim | None:
    try:
        return Claim.read(path)
    except (FileNotFoundError, RunFolderError):
        return None


def _holds(path: Path, claim: Claim, lease_seconds: float) -> bool:
    if claim.host == socket.gethostname() and not process_alive(claim.pid, claim.process_started):
        return False
    try:
        return time.time() - path.stat().st_mtime < lease_seconds
    except FileNotFoundError:
        return False


def _renew(path: Path, done: threading.Event, lease_seconds: float) -> None:
    while not done.wait(lease_seconds / 4):
        try:
            os.utime(path)
        except FileNotFoundError:
            return
