"""The runner with real processes; what they train is a sleep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shared.errors import RunFolderError
from shared.job_queue import at_work, runner
from shared.job_queue.job_queue import JobQueue
from shared.job_queue.runner import Runner
from shared.job_queue.runner_record import RunnerRecord
from tests.conftest import ROOT, until
from tests.unit.shared.job_queue.test_job_queue import add, ended, states

PROGRAM = f"""
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from shared.errors import TrainingError
from shared.job_queue import at_work
from shared.job_queue.job_queue import JobQueue

_, _, folder, job_id = sys.argv[1:]
queue = JobQueue(Path(folder))
job = queue.find(job_id).job
runs = queue.folder.parent

def train():
    with (runs / "begun").open("a") as file:
        print(job_id, os.environ.get("CUDA_VISIBLE_DEVICES", ""), file=file)
    word = job.id.partition("-")[2]
    if word.startswith("bad"):
        raise TrainingError("no finite gradients")
    if word.startswith("crash"):
        os._exit(9)
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    while word.startswith("long") and not stopped and not (runs / "enough").exists():
        time.sleep(0.02)
    return 0

sys.exit(at_work.work(queue, job, train))
"""


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobQueue:
    (tmp_path / "run.py").write_text(PROGRAM)
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.05)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return JobQueue(tmp_path / "runs" / ".queue")


def begun(queue: JobQueue) -> list[str]:
    file = queue.folder.parent / "begun"
    return file.read_text().splitlines() if file.exists() else []


def test_a_job_that_crashes_is_marked_and_the_next_one_begins(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.job_queue.job_queue.RETRY_SECONDS", 0.5)
    said: list[str] = []
    add(queue, "a", "crash", "c")
    ended(queue, "001-a", "finished")
    queue.retry(["1"])
    assert Runner(queue, said.append).run() == 1
    assert states(queue) == {"001-a": "stopped", "002-crash": "failed", "003-c": "stopped"}
    assert begun(queue) == ["001-a ", "002-crash ", "003-c ", "002-crash ", "002-crash "]
    assert "002-crash: failed: its process ended with code 9" in "\n".join(said)
    assert RunnerRecord.read(queue.runner_record).state == "ended"


def test_a_training_that_cannot_continue_is_tried_again_after_the_others(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.job_queue.job_queue.RETRY_SECONDS", 1.0)
    add(queue, "bad", "b")
    assert Runner(queue, print).run() == 1
    assert begun(queue) == ["001-bad ", "002-b ", "001-bad ", "001-bad "]
    last = queue.read_attempt("001-bad")
    assert last
    assert (last.outcome, last.number, last.reason, last.code) == ("failed", 3, "no finite gradients", 4)


def test_each_job_gets_gpus_of_its_own_and_a_large_one_is_not_passed_over(queue: JobQueue) -> None:
    add(queue, "long-a")
    add(queue, "two", gpus=2)
    add(queue, "long-b")
    add(queue, "many", gpus=3)
    thread = threading.Thread(target=lambda: (until(lambda: begun(queue), "the first"), time.sleep(0.5), enough(queue)))
    thread.start()
    assert Runner(queue, print, ("4", "6")).run() == 1
    thread.join()
    assert begun(queue) == ["001-long-a 4", "002-two 4,6", "003-long-b 4"]
    last = queue.read_attempt("004-many")
    assert last
    assert last.reason == "it needs 3 GPUs, the queue is run on 2"


def test_a_second_runner_is_refused(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TAKEN_SECONDS", 0.1)
    add(queue, "a")
    with Runner(queue, print)._alone(), pytest.raises(RunFolderError, match=r"another `python run\.py queue run`"):
        Runner(queue, print).run()


def test_a_signal_lets_jobs_stop_and_the_same_command_goes_on(queue: JobQueue) -> None:
    add(queue, "long-a", "b")
    command = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from shared.job_queue import runner
from shared.job_queue.job_queue import JobQueue
runner.ROOT, runner.POLL_SECONDS = Path(sys.argv[1]), 0.05
sys.exit(runner.Runner(JobQueue(Path(sys.argv[2])), print).run())
"""
    started = [sys.executable, "-c", command, str(runner.ROOT), str(queue.folder)]
    first = subprocess.Popen(started)
    until(lambda: begun(queue), "the first job")
    first.send_signal(signal.SIGINT)
    assert first.wait(20) == 0
    assert states(queue) == {"001-long-a": "waiting", "002-b": "waiting"}

    second = subprocess.Popen(started)
    until(lambda: len(begun(queue)) == 2, "the job to go on")
    second.kill()
    second.wait()
    assert states(queue)["001-long-a"] == "running"  # it goes on without its runner
    third = subprocess.Popen(started)
    until(lambda: RunnerRecord.read(queue.runner_record).pid == third.pid, "the third runner")
    assert begun(queue) == ["001-long-a ", "001-long-a "]
    enough(queue)
    assert third.wait(20) == 0
    assert states(queue) == {"001-long-a": "stopped", "002-b": "stopped"}
    last = queue.read_attempt("001-long-a")
    assert last
    assert last.number == 1  # what a signal cut short does not count


def test_a_switched_off_machine_leaves_its_job_waiting(queue: JobQueue) -> None:
    add(queue, "long-a")
    process = subprocess.Popen([sys.executable, runner.ROOT / "run.py", "queue", "job", queue.folder, "001-long-a"])
    until(lambda: begun(queue), "the job")
    assert states(queue) == {"001-long-a": "running"}
    process.kill()
    process.wait()
    assert states(queue) == {"001-long-a": "waiting"}


def test_the_gpus_of_a_job_are_recorded(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = add(queue, "a")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    assert at_work.work(queue, job, lambda: 0) == 0
    last = queue.read_attempt(job.id)
    assert last
    assert (last.gpus, last.pid) == (("1", "3"), os.getpid())


def enough(queue: JobQueue) -> None:
    (queue.folder.parent / "enough").touch()
