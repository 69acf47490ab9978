"""Claims: one per step and kind of result, with a lease, so that many evaluators can share one run folder.

Claims are taken, taken over and dropped under one file lock that is held for milliseconds. A claim is dead if its
process is dead (on this machine) or if it was not renewed for `lease_seconds` (on another). The new and the late owner
may both
finish: publication by rename accepts only the first result.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock
from pydantic import Field

from shared.errors import RunFolderError
from shared.run_folder.heartbeat import process_alive
from shared.run_folder.records.record import Record
from shared.run_folder.run_dir import ResultKind, RunDir, step_name
from shared.run_folder.times import utc_now

LEASE_SECONDS = 60.0
READING = "reading"
"""Kind of the claims of who reads weights, each in a folder of its own: any number may read the same."""


class Claim(Record):
    """`.claims/step-N.json`, for other kinds of results than evaluations `.claims/<kind>/step-N.json`."""

    step: int
    host: str
    pid: int
    process_started: float
    created: str = Field(default="", description="When the work began; empty: an older version claimed it.")


@contextmanager
def claimed(
    run: RunDir, step: int, kind: ResultKind = "evaluations", lease_seconds: float | None = None
) -> Generator[bool]:
    """Hold the claim on a step while the block runs; yields False if another evaluator has it."""
    lease_seconds = LEASE_SECONDS if lease_seconds is None else lease_seconds
    path = _folder(run, kind) / f"{step_name(step)}.json"
    mine = Claim(
        step=step,
        host=socket.gethostname(),
        pid=os.getpid(),
        process_started=psutil.Process().create_time(),
        created=utc_now(),
    )
    if not _take(run, path, mine, lease_seconds):
        yield False
        return
    done = threading.Event()
    renewer = threading.Thread(target=_renew, args=(path, mine, done, lease_seconds), name="claim-renewal", daemon=True)
    renewer.start()
    try:
        yield True
    finally:
        done.set()
        renewer.join()
        _drop(run, path, mine)


@contextmanager
def reading(run: RunDir, step: int) -> Generator[None]:
    """Keep the weights of a step, or those that an average is of, from being deleted while the block reads them.

    step: or the number of an average.
    """
    kind = f"{READING}/{os.getpid()}-{uuid.uuid4().hex[:8]}"
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # a folder that cannot be written loses no weights either
            held.enter_context(claimed(run, step, kind))
        yield
    with contextlib.suppress(OSError):
        _folder(run, kind).rmdir()


def all_claimed(run: RunDir) -> set[int]:
    """Steps, and numbers of averages, that any living program evaluates or reads."""
    claims = ((path, _read(path)) for path in run.claims.rglob("step-*.json"))
    return {claim.step for path, claim in claims if claim and _holds(path, claim, LEASE_SECONDS)}


def claimed_steps(run: RunDir, kind: ResultKind = "evaluations", lease_seconds: float | None = None) -> set[int]:
    """Steps that a living evaluator is evaluating."""
    return {claim.step for claim in living_claims(run, kind, lease_seconds)}


def living_claims(run: RunDir, kind: ResultKind = "evaluations", lease_seconds: float | None = None) -> list[Claim]:
    """Claims of living evaluators."""
    lease_seconds = LEASE_SECONDS if lease_seconds is None else lease_seconds
    claims = ((path, _read(path)) for path in _folder(run, kind).glob("step-*.json"))
    return [claim for path, claim in claims if claim and _holds(path, claim, lease_seconds)]


def dead_claims(run: RunDir) -> list[Path]:
    """Claim files whose owners are dead; the next evaluator takes them over."""
    claims = ((path, _read(path)) for path in sorted(run.claims.rglob("step-*.json")))
    return [path for path, claim in claims if not (claim and _holds(path, claim, LEASE_SECONDS))]


def drop_dead_claims(run: RunDir) -> None:
    """Remove claims of dead owners. An owner killed after publishing and before dropping its claim leaves it on a
    finished step."""
    run.claims.mkdir(exist_ok=True)
    with FileLock(run.claims / ".lock"):
        for path in dead_claims(run):
            path.unlink(missing_ok=True)


def release(run: RunDir, host: str, pid: int, process_started: float) -> None:
    """Drop the claims of a process that is known to be dead, of another machine too, without waiting for the lease."""
    with FileLock(run.claims / ".lock"):
        for path in run.claims.rglob("step-*.json"):
            claim = _read(path)
            if claim and (claim.host, claim.pid, claim.process_started) == (host, pid, process_started):
                path.unlink(missing_ok=True)


def _folder(run: RunDir, kind: ResultKind) -> Path:
    return run.claims if kind == "evaluations" else run.claims / kind


def _take(run: RunDir, path: Path, mine: Claim, lease_seconds: float) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
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


def _renew(path: Path, mine: Claim, done: threading.Event, lease_seconds: float) -> None:
    """Renew until the work is done or another process owns the claim, because this one was stopped longer than its
    lease."""
    while not done.wait(lease_seconds / 4):
        if _read(path) != mine:
            return
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
