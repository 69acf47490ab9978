"""A run in each state that the first screen has words for."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from examples.fake_run.evaluations import publish_evaluation
from examples.fake_run.history import write_history
from examples.fake_run.run import FakeRun, create
from examples.fake_run.verdict import confirm, rebuild_tables
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.sharing.leases import claimed
from shared.run_folder.tables import TRAIN_COLUMNS, Appender, write_rows


@contextmanager
def all_states(
    folder: Path, steps: int = 200, snapshot_steps: int = 40, descriptions: MetricDescriptions = OLDER_METRICS
) -> Generator[dict[str, FakeRun]]:
    """A run in each state that the first screen has words for: live (while the block runs), finished, unproven, empty,
    failed."""
    names = ("live", "finished", "unproven", "empty", "failed")
    runs = {name: create(folder / name, steps, snapshot_steps, descriptions) for name in names}
    write_history(runs["finished"])
    confirm(runs["finished"])
    runs["unproven"].talent = 0.0
    write_history(runs["unproven"])
    write_failure(runs["failed"])
    with in_the_middle(runs["live"]):
        yield runs


@contextmanager
def in_the_middle(fake: FakeRun) -> Generator[None]:
    """A run that goes on while the block runs: one snapshot is evaluated, one is at work, the others wait."""
    with hold_role(fake.run, "trainer") as trainer, hold_role(fake.run, "evaluator") as evaluator:
        saved = write_so_far(fake, 5 * fake.steps // 8)
        for step in (0, saved[0]):
            publish_evaluation(fake, step)
        rebuild_tables(fake)
        with claimed(fake.run, saved[1]):
            evaluator.update("evaluating", step=saved[1], message=f"step {saved[1]}")
            begun = (datetime.now(UTC) - timedelta(minutes=5)).isoformat(timespec="milliseconds")
            trainer.update("training", step=5 * fake.steps // 8, total=fake.steps, started=begun)
            yield


def write_failure(fake: FakeRun) -> None:
    """A run that ran out of memory before its first snapshot."""
    with contextlib.suppress(RuntimeError), hold_role(fake.run, "trainer") as trainer:
        write_so_far(fake, fake.snapshot_steps - 1)
        publish_evaluation(fake, 0)
        rebuild_tables(fake)
        trainer.update("training", step=fake.snapshot_steps - 1, total=fake.steps)
        raise RuntimeError("CUDA out of memory: tried to allocate 2.00 GiB")


def write_so_far(fake: FakeRun, step: int) -> list[int]:
    """Training up to a step; the snapshots that were saved on the way."""
    now = datetime.now(UTC)
    rows = [fake.training_row(one, now - timedelta(seconds=0.2 * (step - one)), 0.2) for one in range(1, step + 1)]
    write_rows(fake.run.train_csv, Appender(fake.run.train_csv, TRAIN_COLUMNS).columns, rows)
    saved = list(range(fake.snapshot_steps, step + 1, fake.snapshot_steps))
    for one in saved:
        fake.publish_snapshot(one)
    return saved
