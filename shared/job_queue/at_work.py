"""What the process of a job records: that it works, and how it ended."""

from __future__ import annotations

import os
from collections.abc import Callable

from shared import interruption
from shared.errors import DarkroomError, report
from shared.job_queue.attempt import Attempt, Outcome
from shared.job_queue.job import Job
from shared.job_queue.job_queue import JobQueue
from shared.job_queue.runner_record import RunnerRecord
from shared.run_folder.heartbeat import read_status
from shared.run_folder.pending import left_to_evaluate
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import utc_now

TRY_AGAIN = 4
"""The exit code of a training that could not continue."""
CUT_SHORT = frozenset({0, 1, interruption.EXIT_CODE})
"""Those of a run that a signal has ended."""


def work(queue: JobQueue, job: Job, train: Callable[[], int]) -> int:
    """Do the job; returns its exit code. train: what `run.py train` does, errors reported.

    Raises:
        RunFolderError: another process works on it.
    """
    with queue.hold(job.id):
        last = queue.read_attempt(job.id)
        counts = last is not None and last.outcome == "to be retried"
        number = last.number + counts if last else 1
        gpus = tuple(filter(None, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")))
        attempt = Attempt(job_id=job.id, number=number, gpus=gpus)
        queue.write_attempt(attempt)
        code, reason = interruption.EXIT_CODE, ""  # of one that Ctrl-C ends before its programs have begun
        try:
            code, reason = train_with_reason(train)
        except Exception as error:  # a defect of ours: its traceback is in the log
            code, reason = 1, f"{type(error).__name__}: {error}"
            raise
        finally:
            outcome, reason = judge(queue, job, attempt, code, reason)
            ended = {"outcome": outcome, "code": code, "reason": reason, "ended": utc_now()}
            queue.write_attempt(attempt.model_copy(update=ended))
        return code


def train_with_reason(train: Callable[[], int]) -> tuple[int, str]:
    """The exit code, and the error that ended it; the error is printed, too."""
    try:
        return train(), ""
    except DarkroomError as error:
        return report(error), str(error)


def judge(queue: JobQueue, job: Job, attempt: Attempt, code: int, reason: str) -> tuple[Outcome, str]:
    """What an attempt ended with, and why."""
    run = RunDir(job.run)
    trainer = read_status(run, "trainer") if run.record.is_file() else None
    is_cut_short = is_ending(queue) and code in CUT_SHORT
    if code and not is_cut_short:
        reason = reason or (trainer.message if trainer and trainer.state == "failed" else "")
        retried = code == TRY_AGAIN and attempt.number <= job.retries
        return "to be retried" if retried else "failed", reason or f"exit code {code}; see {queue.log(job.id)}"
    is_trained = trainer is not None and trainer.state == "finished"
    if is_cut_short and (code or not is_trained or left_to_evaluate(run)):
        return "interrupted", ""
    return ("finished", "") if is_trained else ("stopped", trainer.message if trainer else "before training began")


def is_ending(queue: JobQueue) -> bool:
    """Whether the runner was asked to end, and therefore the job."""
    try:
        return RunnerRecord.read(queue.runner_record).state == "ending"
    except (FileNotFoundError, DarkroomError):
        return False
