"""Works on a queue: gives free GPUs to the jobs that wait, in their order, until none waits.

Each job is a process of its own that goes on if this one is killed; a runner that starts later finds it at work, and
its GPUs taken.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from filelock import FileLock, Timeout

from shared.errors import RunFolderError
from shared.job_queue.attempt import Attempt, Outcome
from shared.job_queue.job import Job
from shared.job_queue.job_queue import TAKEN_SECONDS, Entry, JobQueue
from shared.job_queue.runner_record import RunnerRecord
from shared.launch import end_signals, parent_watch
from shared.launch.supervisor import ROOT
from shared.run_folder import requests
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import utc_now

POLL_SECONDS = 0.5
UNUSABLE = 3
"""The exit code of a machine that does not suffice."""
BY = "the queue"

Say = Callable[[str], object]


@dataclass(frozen=True)
class Begun:
    """A job that this runner has begun."""

    job: Job
    gpus: tuple[str, ...]
    process: subprocess.Popen[bytes]


@dataclass
class Runner:
    """One `run.py queue run`."""

    queue: JobQueue
    say: Say
    gpus: tuple[str, ...] = ()
    slots: int = 1
    """Jobs at the same time where there are no GPUs."""
    waits: bool = False
    """Whether it waits for further jobs when none is left."""
    _begun: dict[str, Begun] = field(default_factory=dict[str, "Begun"])
    _told: dict[str, str] = field(default_factory=dict[str, str])
    _asked: dict[str, int] = field(default_factory=dict[str, int])
    _signals: list[signal.Signals] = field(default_factory=list[signal.Signals])

    def run(self) -> int:
        """Until no job is left or a signal ends it; the exit code: 1 if a job failed that began or ended meanwhile.

        Raises:
            RunFolderError: another runner works on this queue.
        """
        with self._alone():
            for number in end_signals.ending():
                signal.signal(number, self._on_signal)
            record = RunnerRecord(state="working", gpus=self.gpus, slots=self.slots)
            record.write(self.queue.runner_record)
            try:
                self._told = {entry.job.id: told(entry) for entry in self.queue.entries()}
                failed = self._work(record)
            finally:
                record.model_copy(update={"state": "ended"}).write(self.queue.runner_record)
        return int(failed)

    def _work(self, record: RunnerRecord) -> bool:
        """Whether a job has failed."""
        is_ending, failed = False, set[str]()
        while True:
            self._reap(is_ending=is_ending)
            entries = self.queue.entries()
            failed |= self._tell(entries)
            if self._signals and not is_ending:
                is_ending = True
                record.model_copy(update={"state": "ending"}).write(self.queue.runner_record)
            if is_ending:
                self._end(entries, at_once=len(self._signals) > 1)
            else:
                self._start_next(entries)
            at_work = [entry for entry in entries if entry.state == "running"] or self._begun
            waiting = [entry for entry in entries if entry.state == "waiting"]
            if not at_work and (is_ending or not (waiting or self.waits)):
                return bool(failed)
            time.sleep(POLL_SECONDS)

    def _start_next(self, entries: list[Entry]) -> None:
        """Begin jobs while there is room, strictly in their order: one that needs many GPUs is not passed over."""
        ready = [entry for entry in entries if entry.state == "waiting" and entry.job.id not in self._begun]
        for entry in ready:
            if entry.seconds_to_retry:
                continue
            if self.gpus and entry.job.gpus > len(self.gpus):
                self._refuse(entry.job)
                continue
            given = self._room_for(entry.job, entries)
            if given is None:
                return
            self._start(entry.job, given)

    def _room_for(self, job: Job, entries: list[Entry]) -> tuple[str, ...] | None:
        """The GPUs that it gets, none where the machine has none; None if it must wait."""
        busy = {
            entry.job.id: entry.attempt.gpus if entry.attempt else () for entry in entries if entry.state == "running"
        }
        busy.update({job_id: begun.gpus for job_id, begun in self._begun.items()})
        if not self.gpus:
            return () if len(busy) < self.slots else None
        taken = {gpu for gpus in busy.values() for gpu in gpus}
        free = [gpu for gpu in self.gpus if gpu not in taken]
        return tuple(free[: job.gpus]) if len(free) >= job.gpus else None

    def _start(self, job: Job, gpus: tuple[str, ...]) -> None:
        log = self.queue.log(job.id)
        log.parent.mkdir(exist_ok=True)
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        environment.pop(parent_watch.VARIABLE, None)  # a job goes on when its runner ends
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        command = [sys.executable, str(ROOT / "run.py"), "queue", "job", str(self.queue.folder), job.id]
        with log.open("ab") as file:
            process = subprocess.Popen(
                command,
                cwd=job.folder if job.folder.is_dir() else None,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                **end_signals.apart(),
            )
        self._begun[job.id] = Begun(job, gpus, process)
        where = f" on GPU {', '.join(gpus)}" if gpus else ""
        self.say(f"{job.id}: begins{where}; it prints to {log}")

    def _refuse(self, job: Job) -> None:
        reason = f"it needs {job.gpus} GPUs, the queue is run on {len(self.gpus)}"
        last = self.queue.read_attempt(job.id)
        refused = Attempt(
            job_id=job.id,
            number=last.number if last else 1,
            outcome="failed",
            code=UNUSABLE,
            reason=reason,
            ended=utc_now(),
        )
        self.queue.write_attempt(refused)

    def _reap(self, *, is_ending: bool) -> None:
        """Forget processes that have ended. One that recorded no end was killed, or crashed: it counts as an attempt,
        else it would be started for ever."""
        for job_id, begun in list(self._begun.items()):
            job, process = begun.job, begun.process
            if process.poll() is None:
                continue
            del self._begun[job_id]
            last = self.queue.read_attempt(job_id)
            if is_ending or (last and last.pid == process.pid and last.outcome):
                continue
            number = 1 if last is None else last.number + (last.outcome == "to be retried")
            reason = f"its process ended with code {process.returncode}; see {self.queue.log(job_id)}"
            outcome: Outcome = "to be retried" if number <= job.retries else "failed"
            ended = Attempt(job_id=job_id, number=number, outcome=outcome, code=process.returncode, reason=reason)
            self.queue.write_attempt(ended.model_copy(update={"ended": utc_now()}))

    def _tell(self, entries: list[Entry]) -> set[str]:
        """Say what is new of each job; returns those that have failed meanwhile."""
        failed: set[str] = set()
        for entry in entries:
            sentence = told(entry)
            if sentence == self._told.get(entry.job.id):
                continue
            self._told[entry.job.id] = sentence
            if sentence:
                self.say(f"{entry.job.id}: {sentence}")
            if entry.state == "failed":
                failed.add(entry.job.id)
        return failed

    def _end(self, entries: list[Entry], *, at_once: bool) -> None:
        """Ask the jobs to save and stop, and not to evaluate what is left: a later runner does."""
        for entry in entries:
            job_id = entry.job.id
            if entry.state != "running":
                continue
            if job_id not in self._begun and RunDir(entry.job.run).record.is_file():  # an earlier runner's
                requests.submit_stop(RunDir(entry.job.run), BY)  # again, until one comes after the programs have begun
            if job_id not in self._asked:
                self._asked[job_id] = 1
                self.say(f"{job_id}: asked to save and stop; `python run.py queue run` goes on from there")
                self._ask(entry.job)
            elif self._asked[job_id] == 1 and (at_once or evaluates_what_is_left(entry.job)):
                self._asked[job_id] = 2
                self._ask(entry.job)

    def _ask(self, job: Job) -> None:
        begun = self._begun.get(job.id)
        if begun and begun.process.poll() is None:
            end_signals.send(begun.process, signal.SIGTERM)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(signal.Signals(number))

    @contextmanager
    def _alone(self) -> Generator[None]:
        try:
            with FileLock(self.queue.folder / "runner.lock", timeout=TAKEN_SECONDS):
                yield
        except Timeout:
            raise RunFolderError(
                f"another `python run.py queue run` works on {self.queue.folder}",
                "add jobs to it, or end it with Ctrl-C",
            ) from None


def evaluates_what_is_left(job: Job) -> bool:
    """Whether its training has ended; a second request then ends it."""
    run = RunDir(job.run)
    supervisor = read_status(run, "supervisor") if run.record.is_file() else None
    return supervisor is not None and is_alive(supervisor) and supervisor.state == "draining"


def told(entry: Entry) -> str:
    """What is said when a job comes into this state; empty for one that has not begun or is at work."""
    last = entry.attempt
    if last is None or entry.state == "running":
        return ""
    why = f": {last.reason}" if last.reason else ""
    return f"{last.outcome or 'interrupted'}{why}"
