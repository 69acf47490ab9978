"""The folder of a queue: its jobs, their order, and how each of them goes."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from shared.errors import ConfigError, RunFolderError
from shared.job_queue.attempt import Attempt
from shared.job_queue.job import Job
from shared.run_folder.times import seconds_since

State = Literal["waiting", "running", "finished", "stopped", "failed"]
NAME = ".queue"
"""The folder of a queue, inside the folder of run folders."""
RETRY_SECONDS = 60.0
"""Before the second attempt; twice as long before the third, and so on."""
LOCK_SECONDS = 10.0
TAKEN_SECONDS = 2.0
"""For somebody who only looks whether a lock is held."""
ID = re.compile(r"\d+-.+")


@dataclass(frozen=True)
class Entry:
    """A job and how it goes."""

    job: Job
    state: State
    attempt: Attempt | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is done for it, unless a person asks for it."""
        return self.state not in ("waiting", "running")

    @property
    def seconds_to_retry(self) -> float:
        """Before it may begin again; 0 if now."""
        last = self.attempt
        if self.state != "waiting" or last is None or last.outcome != "to be retried" or last.ended is None:
            return 0.0
        return max(0.0, RETRY_SECONDS * last.number - seconds_since(last.ended))


@dataclass(frozen=True)
class JobQueue:
    """What a queue's folder holds."""

    folder: Path
    _lock: FileLock = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lock", FileLock(self.folder / "queue.lock", timeout=LOCK_SECONDS))

    @property
    def runner_record(self) -> Path:
        """`runner.json`."""
        return self.folder / "runner.json"

    def log(self, job_id: str) -> Path:
        """What the job printed."""
        return self.folder / "logs" / f"{job_id}.log"

    def entries(self) -> list[Entry]:
        """Every job: those at work, then those that wait, in the order in which they begin, then those that ended."""
        stages = ("running", "waiting")
        found = [self._entry(job) for job in self._jobs()]
        return sorted(
            found,
            key=lambda entry: (
                stages.index(entry.state) if entry.state in stages else len(stages),
                *((0, 0.0) if entry.state not in stages else order(entry.job)),
                entry.job.number,
            ),
        )

    def find(self, name: str) -> Entry:
        """The job of an id, or of its number.

        Raises:
            ConfigError: there is none.
        """
        for job in self._jobs():
            if name == job.id or (name.isdecimal() and int(name) == job.number):
                return self._entry(job)
        known = ", ".join(str(job.number) for job in sorted(self._jobs(), key=order)) or "none"
        raise ConfigError(f"the queue has no job {name}", f"give the number of a job; there are: {known}")

    def add(self, wanted: Sequence[Callable[[str, float], Job]], names: Sequence[str]) -> list[Job]:
        """Put jobs at the end, all or none. wanted: each makes its job from its id and its place.

        Raises:
            ConfigError: a job that has not ended makes the same run.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "jobs").mkdir(exist_ok=True)
        with self._lock:
            present = [self._entry(job) for job in self._jobs()]
            number = max(map(number_in, [*self._files(), *(self.folder / "logs").glob("*-*.log")]), default=0)
            last = max((entry.job.place for entry in present), default=0.0)
            made = [
                make(f"{number + index:03d}-{name}", last + index)
                for index, (make, name) in enumerate(zip(wanted, names, strict=True), 1)
            ]
            refuse_same_run(made, [entry.job for entry in present if not entry.is_over])
            for job in made:
                job.write(self._job(job.id))
        return made

    def move(self, name: str, before: str | None) -> None:
        """Let a waiting job begin before another one that waits; before None: as the last of all.

        Raises:
            ConfigError: there is no such job, or it does not wait.
        """
        self._waiting(name)  # refused before anything is written
        with self._lock:
            moved = self._waiting(name).job
            others = [entry.job for entry in self.entries() if entry.state == "waiting" and entry.job.id != moved.id]
            at = len(others) if before is None else others.index(self._waiting(before).job) if before != name else None
            if at is None or not others:
                return
            moved.model_copy(update=placed(others, at)).write(self._job(moved.id))

    def remove(self, names: Iterable[str]) -> None:
        """Take jobs out of the queue, all or none; their runs stay.

        Raises:
            ConfigError: there is no such job, or it is at work.
        """
        with self._found(list(names)) as found:
            if running := [entry.job for entry in found if entry.state == "running"]:
                raise ConfigError(
                    f"{', '.join(job.id for job in running)}: at work",
                    f"stop it first: {'; '.join(f'`python run.py stop {job.run}`' for job in running)}",
                )
            for entry in found:
                self._job(entry.job.id).unlink(missing_ok=True)
                self._attempt(entry.job.id).unlink(missing_ok=True)

    def retry(self, names: Iterable[str]) -> None:
        """Let jobs that have ended wait again; their runs are resumed.

        Raises:
            ConfigError: there is no such job, or it has not ended.
        """
        with self._found(list(names)) as found:
            if waiting := [entry for entry in found if not entry.is_over]:
                said = "; ".join(f"{entry.job.id} has not ended: it is {entry.state}" for entry in waiting)
                raise ConfigError(said, "name jobs that have ended")
            for entry in found:
                self._attempt(entry.job.id).unlink(missing_ok=True)

    @contextmanager
    def hold(self, job_id: str) -> Generator[None]:
        """Be the process that works on a job.

        Raises:
            RunFolderError: another one does.
        """
        (self.folder / "locks").mkdir(exist_ok=True)
        try:
            with FileLock(self._held(job_id), timeout=TAKEN_SECONDS):
                yield
        except Timeout:
            raise RunFolderError(f"a process works on the job {job_id} already", "wait for it") from None

    def write_attempt(self, attempt: Attempt) -> None:
        """Called by the process that works on the job."""
        path = self._attempt(attempt.job_id)
        path.parent.mkdir(exist_ok=True)
        attempt.write(path)

    def read_attempt(self, job_id: str) -> Attempt | None:
        """The last one; None before the first. A damaged record counts as none: the job begins again and resumes."""
        try:
            return Attempt.read(self._attempt(job_id))
        except (FileNotFoundError, RunFolderError):
            return None

    @contextmanager
    def _found(self, names: Sequence[str]) -> Generator[list[Entry]]:
        """These jobs, which nobody else changes meanwhile. Names that are wrong are refused before anything is written.

        Raises:
            ConfigError: there is no such job.
        """
        for name in names:
            self.find(name)
        with self._lock:
            yield [self.find(name) for name in dict.fromkeys(names)]

    def _waiting(self, name: str) -> Entry:
        entry = self.find(name)
        if entry.state != "waiting":
            raise ConfigError(f"{entry.job.id} is {entry.state}", "name a job that waits: others have no order")
        return entry

    def _entry(self, job: Job) -> Entry:
        attempt = self.read_attempt(job.id)
        if attempt is None:
            return Entry(job, "running" if self._is_held(job.id) else "waiting")
        if attempt.has_ended:
            return Entry(job, attempt.outcome, attempt)  # pyright: ignore[reportArgumentType] - ENDED are states
        return Entry(job, "running" if self._is_held(job.id) else "waiting", attempt)

    def _is_held(self, job_id: str) -> bool:
        """Whether a process works on it: the system lets go of its lock when it ends, however it ends."""
        path = self._held(job_id)
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0):
                return False
        except Timeout:
            return True

    def _jobs(self) -> list[Job]:
        jobs: list[Job] = []
        for path in self._files():
            try:
                jobs.append(Job.read(path))
            except FileNotFoundError:
                continue  # it was removed meanwhile
        return jobs

    def _files(self) -> list[Path]:
        return [path for path in (self.folder / "jobs").glob("*.json") if ID.fullmatch(path.stem)]

    def _job(self, job_id: str) -> Path:
        return self.folder / "jobs" / f"{job_id}.json"

    def _attempt(self, job_id: str) -> Path:
        return self.folder / "attempts" / f"{job_id}.json"

    def _held(self, job_id: str) -> Path:
        return self.folder / "locks" / f"{job_id}.lock"


def number_in(path: Path) -> int:
    """That of a job's file; a log without such a name has none."""
    number = path.stem.partition("-")[0]
    return int(number) if number.isdecimal() else 0


def order(job: Job) -> tuple[int, float]:
    """Jobs begin in ascending order of this."""
    return -job.priority, job.place


def placed(others: Sequence[Job], at: int) -> dict[str, float]:
    """Priority and place of a job that begins before `others[at]`, or after all of them. It keeps its neighbour's
    priority: a person who moves a job above an urgent one means it."""
    if at == len(others):
        return {"priority": others[-1].priority, "place": others[-1].place + 1}
    follower, leader = others[at], others[at - 1] if at else None
    if leader is None or leader.priority != follower.priority:
        return {"priority": follower.priority, "place": follower.place - 1}
    return {"priority": follower.priority, "place": (leader.place + follower.place) / 2}


def refuse_same_run(added: Sequence[Job], present: Sequence[Job]) -> None:
    """Two jobs in one run folder would be one run, trained once.

    Raises:
        ConfigError: naming each.
    """
    first: dict[Path, str] = {job.run: job.id for job in present}
    faults: list[str] = []
    for job in added:
        if (other := first.setdefault(job.run, job.id)) != job.id:
            faults.append(f"{job.config} makes the run {job.run}, as the job {other} does")
    if faults:
        raise ConfigError("; ".join(faults), "give each a name of its own: run.name=…")
