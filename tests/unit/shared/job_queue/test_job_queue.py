from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from shared.errors import ConfigError, RunFolderError
from shared.job_queue.attempt import Attempt, Outcome
from shared.job_queue.job import Job
from shared.job_queue.job_queue import RETRY_SECONDS, JobQueue, State
from shared.run_folder.times import utc_now


def job(job_id: str, place: float, *, run: Path, priority: int = 0, gpus: int = 1) -> Job:
    config = run.with_suffix(".toml")
    return Job(id=job_id, place=place, config=config, folder=run.parent, run=run, priority=priority, gpus=gpus)


def add(queue: JobQueue, *names: str, priority: int = 0, gpus: int = 1) -> list[Job]:
    folder = queue.folder.parent
    return queue.add([partial(job, run=folder / name, priority=priority, gpus=gpus) for name in names], names)


def waiting(queue: JobQueue) -> list[str]:
    return [entry.job.id for entry in queue.entries() if entry.state == "waiting"]


def states(queue: JobQueue) -> dict[str, State]:
    return {entry.job.id: entry.state for entry in queue.entries()}


def ended(queue: JobQueue, job_id: str, outcome: Outcome, number: int = 1, reason: str = "") -> None:
    attempt = Attempt(job_id=job_id, number=number, outcome=outcome, reason=reason, ended=utc_now())
    queue.write_attempt(attempt)


@pytest.fixture
def queue(tmp_path: Path) -> JobQueue:
    return JobQueue(tmp_path / "runs" / ".queue")


def test_jobs_begin_by_priority_and_then_as_they_came(queue: JobQueue) -> None:
    add(queue, "a", "b")
    add(queue, "c", priority=1)
    assert waiting(queue) == ["003-c", "001-a", "002-b"]


def test_nothing_is_written_by_looking(queue: JobQueue) -> None:
    assert queue.entries() == []
    with pytest.raises(ConfigError, match="no job 1"):
        queue.move("1", None)
    with pytest.raises(ConfigError, match="no job 1"):
        queue.remove(["1"])
    assert not queue.folder.exists()


@pytest.mark.parametrize(
    ("moved", "before", "order"),
    [
        ("4", "1", ["004-d", "001-a", "002-b", "003-c"]),
        ("4", "3", ["001-a", "002-b", "004-d", "003-c"]),
        ("1", "3", ["002-b", "001-a", "003-c", "004-d"]),
        ("1", None, ["002-b", "003-c", "004-d", "001-a"]),
        ("4", None, ["001-a", "002-b", "003-c", "004-d"]),
        ("2", "2", ["001-a", "002-b", "003-c", "004-d"]),
    ],
)
def test_a_job_is_moved_before_another_one(queue: JobQueue, moved: str, before: str | None, order: list[str]) -> None:
    add(queue, "a", "b", "c", "d")
    queue.move(moved, before)
    assert waiting(queue) == order


def test_a_job_moved_above_an_urgent_one_is_as_urgent(queue: JobQueue) -> None:
    add(queue, "slow", "later")
    add(queue, "urgent", "also", priority=5)
    queue.move("2", "4")
    assert waiting(queue) == ["003-urgent", "002-later", "004-also", "001-slow"]
    queue.move("1", "3")
    assert waiting(queue) == ["001-slow", "003-urgent", "002-later", "004-also"]


def test_two_jobs_of_one_run_are_refused_together(queue: JobQueue) -> None:
    add(queue, "a")
    with pytest.raises(ConfigError, match=r"makes the run .*/a, as the job 001-a does; .*/b, as the job 003-b does"):
        add(queue, "a", "b", "b")
    assert waiting(queue) == ["001-a"]
    ended(queue, "001-a", "finished")
    assert [made.id for made in add(queue, "a")] == ["002-a"]


def test_the_number_of_a_job_that_is_gone_is_not_given_again(queue: JobQueue) -> None:
    add(queue, "a", "b")
    queue.log("002-b").parent.mkdir()
    queue.log("002-b").touch()
    queue.remove(["2"])
    assert [made.id for made in add(queue, "c")] == ["003-c"]


def test_a_job_that_a_process_works_on_is_neither_moved_nor_removed_nor_retried(queue: JobQueue) -> None:
    add(queue, "a", "b")
    with queue.hold("001-a"):
        assert states(queue) == {"001-a": "running", "002-b": "waiting"}
        with pytest.raises(ConfigError, match="001-a: at work"):
            queue.remove(["2", "1"])
        with pytest.raises(ConfigError, match="001-a is running"):
            queue.move("1", None)
        with pytest.raises(ConfigError, match="it is running; 002-b has not ended: it is waiting"):
            queue.retry(["1", "2"])
        with pytest.raises(RunFolderError, match="works on the job 001-a already"), queue.hold("001-a"):
            pass
    assert waiting(queue) == ["001-a", "002-b"]


@pytest.mark.parametrize("outcome", ["", "interrupted", "to be retried"])
def test_a_job_that_did_not_come_to_its_end_waits(queue: JobQueue, outcome: Outcome) -> None:
    add(queue, "a")
    ended(queue, "001-a", outcome)
    assert states(queue) == {"001-a": "waiting"}


def test_a_job_is_not_tried_again_at_once(queue: JobQueue) -> None:
    add(queue, "a")
    ended(queue, "001-a", "to be retried", number=2)
    (entry,) = queue.entries()
    assert 2 * RETRY_SECONDS - 5 < entry.seconds_to_retry <= 2 * RETRY_SECONDS
    ended(queue, "001-a", "interrupted")
    assert queue.entries()[0].seconds_to_retry == 0


def test_jobs_that_have_ended_come_last_and_wait_again_when_asked(queue: JobQueue) -> None:
    add(queue, "a", "b", "c")
    ended(queue, "001-a", "failed", reason="no picture")
    ended(queue, "002-b", "stopped")
    assert [entry.job.id for entry in queue.entries()] == ["003-c", "001-a", "002-b"]
    queue.retry(["001-a"])
    assert waiting(queue) == ["001-a", "003-c"]


def test_a_damaged_job_is_named(queue: JobQueue) -> None:
    add(queue, "a")
    (queue.folder / "jobs" / "002-b.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"002-b\.json is not a record"):
        queue.entries()
