"""A finished run, written at once."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from examples.fake_run.evaluations import publish_evaluation
from examples.fake_run.run import FakeRun
from examples.fake_run.verdict import rebuild_tables
from shared.run_folder import requests
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.tables import GPU_COLUMNS, SYSTEM_COLUMNS, TRAIN_COLUMNS, Appender, Value, write_rows


def write_history(fake: FakeRun, step_seconds: float = 0.4) -> None:
    """A finished run at once: a stop at one third, a resume, a failed evaluation, a blank metric."""
    run, steps, every = fake.run, fake.steps, fake.snapshot_steps
    table = Appender(run.train_csv, TRAIN_COLUMNS)
    checks = max(1, every // 2)
    write_rows(
        run.validation_csv, tuple(fake.validation_row(0)), map(fake.validation_row, range(checks, steps + 1, checks))
    )
    stopped_at = max(1, steps // 3)
    start = datetime.now(UTC) - timedelta(seconds=steps * step_seconds + 600)
    with (
        hold_role(run, "trainer") as trainer,
        hold_role(run, "evaluator") as evaluator,
    ):
        publish_evaluation(fake, 0)
        lines: list[dict[str, Value]] = []
        for step in range(1, steps + 1):
            pause = 600 if step > stopped_at else 0
            when = start + timedelta(seconds=(step - 0.5 * fake.rng.random()) * step_seconds + pause)
            lines.append(fake.training_row(step, when, step_seconds * fake.rng.uniform(0.9, 1.1)))
        write_rows(run.train_csv, table.columns, lines)
        write_system(fake, start, step_seconds, stopped_at)
        evaluated = list(range(every, steps + 1, every)) or [steps]
        for step in evaluated:
            fake.publish_snapshot(step)
            failure = "the adapter holds a value that is not finite" if step == evaluated[-2:][0] else ""
            blank = fake.descriptions.losses[-1].name if step == evaluated[len(evaluated) // 4] else ""
            publish_evaluation(fake, step, failure, blank)
        rebuild_tables(fake)
        request = requests.submit_stop(run, "command line")
        for stage in ("seen", "saved", "stopped"):
            requests.answer(run, request, stage, stopped_at)
        (run.logs / "trainer.log").write_text("".join(f"INFO step {step} published\n" for step in evaluated))
        trainer.update(step=steps, total=steps)
        evaluator.update(step=evaluated[-1], total=len(evaluated))


def write_system(fake: FakeRun, start: datetime, step_seconds: float, stopped_at: int) -> None:
    """What a GPU of 24 GB took meanwhile: nothing is recorded during the pause, and the first row after it begins
    anew."""
    end, until, after = fake.steps * step_seconds, stopped_at * step_seconds, 600.0
    seconds = [second for second in range(0, math.ceil(end) + 10, 10) if second <= end or second == 0]
    begun = next((second for second in seconds if second > until), -1)
    rows: list[dict[str, Value]] = []
    for second in seconds:
        warm, wave = 1 - math.exp(-second / 60), math.sin(second / 17)
        when = start + timedelta(seconds=second + (after if second > until else 0))
        rows.append(
            {
                "timestamp": when.isoformat(timespec="milliseconds"),
                "seconds": 0.0 if second in (0, begun) else 10.0,
                "cpu_percent": round(22 + 6 * wave, 1),
                "memory_used_mib": round(9800 + 400 * warm),
                "disk_free_mib": 61_000 - 2 * second,
                "trainer_rss_mib": round(1450 + 60 * warm),
                "evaluator_rss_mib": round(1720 + 40 * wave),
                "dashboard_rss_mib": 260,
                "supervisor_rss_mib": 70,
                "trainer_gpu_mib": round(7300 + 200 * warm),
                "evaluator_gpu_mib": round(4100 + 900 * max(0.0, wave)),
                "gpu0_percent": round(91 + 7 * wave),
                "gpu0_memory_mib": round(11_900 + 200 * warm + 900 * max(0.0, wave)),
                "gpu0_celsius": round(44 + 28 * warm),
                "gpu0_watts": round(286 + 30 * wave, 1),
            }
        )
    write_rows(fake.run.system_csv(), (*SYSTEM_COLUMNS, *(f"gpu0_{name}" for name in GPU_COLUMNS)), rows)
