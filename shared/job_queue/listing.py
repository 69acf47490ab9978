"""The queue as a table on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from shared.job_queue.job_queue import Entry, JobQueue
from shared.job_queue.runner import told
from shared.launch.attended.say import say
from shared.run_folder.heartbeat import read_status
from shared.run_folder.run_dir import RunDir


def show(jobs: JobQueue) -> int:
    """The list, in the order in which jobs begin."""
    entries = jobs.entries()
    if not entries:
        say(f"no job is in {jobs.folder}; `python run.py queue add CONFIG` puts one in")
        return 0
    shown = Table("job", "state", "priority", "GPUs", "run", box=None, pad_edge=False)
    for entry in entries:
        used = ", ".join(entry.attempt.gpus) if entry.state == "running" and entry.attempt else ""
        gpus = used or str(entry.job.gpus)
        shown.add_row(entry.job.id, in_words(entry), str(entry.job.priority), gpus, str(entry.job.run))
    Console(highlight=False).print(shown)
    return 0


def in_words(entry: Entry) -> str:
    """How a job goes."""
    if entry.state == "running":
        trainer = read_status(RunDir(entry.job.run), "trainer") if (entry.job.run / "run.json").is_file() else None
        return f"running, step {trainer.step} of {trainer.total}" if trainer and trainer.total else "running"
    return f"{entry.state}{f' ({said})' if entry.state == 'waiting' and (said := told(entry)) else ''}" + (
        f": {entry.attempt.reason}" if entry.state in ("failed", "stopped") and entry.attempt else ""
    )
