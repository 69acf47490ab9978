"""A run as it happens."""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime

from examples.fake_run.evaluations import publish_drawings, publish_evaluation
from examples.fake_run.run import FakeRun
from examples.fake_run.verdict import rebuild_tables
from shared.machine.recorder import recorded
from shared.run_folder import requests
from shared.run_folder.heartbeat import Status, hold_role
from shared.run_folder.records.process_status import State
from shared.run_folder.records.request import Request, RequestKind
from shared.run_folder.run_dir import RunDir
from shared.run_folder.sharing.leases import claimed
from shared.run_folder.tables import TRAIN_COLUMNS, Appender, Value, prune


def live(fake: FakeRun, step_seconds: float, evaluation_seconds: float, ignore_stop: bool) -> None:
    """Train and evaluate in time; answers a stop request as the trainer does, then the evaluator drains."""
    run = fake.run
    table = Appender(run.train_csv, TRAIN_COLUMNS)
    checks = Appender(run.validation_csv, tuple(fake.validation_row(0)))
    last = max(fake.run.published_snapshots(), default=0)
    prune(run.train_csv, lambda row: int(row["step"]) <= last)
    with hold_role(run, "trainer") as trainer, hold_role(run, "evaluator") as evaluator, recorded(run):
        trainer.update("preparing", step=last, total=fake.steps, message="caching latents")
        requests.ignore_before(run, trainer.record.started)
        waiting: list[int] = [] if run.evaluation(0).exists() else [0]
        ready_at = time.monotonic() + evaluation_seconds
        for step in range(last + 1, fake.steps + 1):
            time.sleep(step_seconds * fake.rng.uniform(0.9, 1.1))
            trainer.update("training", step=step, message="")
            append_in_two_halves(table, fake.training_row(step, datetime.now(UTC), step_seconds), step)
            if step % fake.snapshot_steps == 0:
                checks.append(fake.validation_row(step))
            stop, wanted = obey(run, trainer, step) if not ignore_stop else (None, False)
            if stop or wanted or step % fake.snapshot_steps == 0 or step == fake.steps:
                fake.publish_snapshot(step)
                waiting.append(step)
            if waiting and time.monotonic() > ready_at:
                draw_what_is_asked_for(fake)
                evaluate_next(fake, evaluator, waiting)
                ready_at = time.monotonic() + evaluation_seconds
            if stop:
                answer(run, stop, trainer, step)
                break
        trainer.close("stopped" if trainer.record.step < fake.steps else "finished")
        while waiting:
            evaluate_next(fake, evaluator, waiting, state="draining")


def draw_what_is_asked_for(fake: FakeRun) -> None:
    """With prompts of a person's own."""
    for request in requests.open_requests(fake.run, "evaluate"):
        if request.prompts:
            publish_drawings(fake, request)


def obey(run: RunDir, trainer: Status, step: int) -> tuple[Request | None, bool]:
    """Hold while paused; then the stop request, if there is one, and whether a snapshot is wanted."""
    held = carry_out(run, "pause", step)
    while held and not (carry_out(run, "resume", step) or requests.open_requests(run, "stop")):
        trainer.update("paused")
        time.sleep(0.1)
    return next(iter(requests.open_requests(run, "stop")), None), carry_out(run, "snapshot-now", step)


def carry_out(run: RunDir, kind: RequestKind, step: int) -> bool:
    """Answer every open request of a kind; whether there was one."""
    waiting = requests.open_requests(run, kind)
    for request in waiting:
        requests.answer(run, request, "seen", step)
        requests.answer(run, request, "done", step)
    return bool(waiting)


def append_in_two_halves(table: Appender, row: dict[str, Value], step: int) -> None:
    """Most rows whole; every fifth torn for a moment, as a reader may meet it on a network disk."""
    if step % 5:
        table.append(row)
        return
    text = io.StringIO()
    text.write(",".join("" if row.get(column) is None else str(row.get(column)) for column in table.columns) + "\n")
    line = text.getvalue().encode()
    with table.path.open("ab", buffering=0) as file:
        file.write(line[: len(line) // 2])
        time.sleep(0.05)
        file.write(line[len(line) // 2 :])


def evaluate_next(fake: FakeRun, evaluator: Status, waiting: list[int], state: State = "evaluating") -> None:
    """Evaluator the oldest snapshot that waits."""
    step = waiting.pop(0)
    known = len(fake.run.published_snapshots())
    with claimed(fake.run, step):
        evaluator.update(state, step=step, total=known)
        publish_evaluation(fake, step)
        rebuild_tables(fake)
    evaluator.update("idle")


def answer(run: RunDir, request: Request, trainer: Status, step: int) -> None:
    """Carry a stop request out, slowly enough to watch."""
    trainer.update("saving")
    for stage in ("seen", "saved", "stopped"):
        requests.answer(run, request, stage, step)
        time.sleep(0.3)
