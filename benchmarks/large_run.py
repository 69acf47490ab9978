"""How long does the dashboard take over a run of a million steps and a thousand evaluations?

    python benchmarks/large_run.py

Prints a table of server times: the first look, and one refresh after a new row, as the panels do it. Process time, for
machines are busy with other things.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dashboard.charts.axis import Look, x_axis
from dashboard.charts.quality import quality_figure
from dashboard.charts.training import Events, training_figure
from dashboard.data.events import pauses
from dashboard.data.reader import RunReader
from examples.fake_run.evaluations import invented_result
from examples.fake_run.run import FakeRun, create
from examples.fake_run.verdict import rebuild_tables
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import TRAIN_COLUMNS

NUM_STEPS, EVERY = 1_000_000, 1000
REPEATS = 5


def write_run(folder: Path) -> FakeRun:
    """A run folder of that size: rows as the trainer writes them, evaluations without pictures."""
    fake = create(folder / "large", NUM_STEPS, EVERY)
    losses = np.random.default_rng(0).lognormal(-2.5, 0.35, NUM_STEPS)
    with fake.run.train_csv.open("w", encoding="utf-8") as file:
        file.write(",".join(TRAIN_COLUMNS) + "\n")
        file.writelines(row(step, losses[step - 1]) for step in range(1, NUM_STEPS + 1))
    fake.publish_snapshot(EVERY)
    for step in range(0, NUM_STEPS + 1, EVERY):
        fake.run.evaluation(step).mkdir()
        invented_result(fake, step, "", "").write(fake.run.evaluation(step) / "result.json")
        if step > EVERY:
            shutil.copytree(fake.run.snapshot(EVERY), fake.run.snapshot(step))
    rebuild_tables(fake)
    return fake


def row(step: int, loss: float) -> str:
    """One line of train.csv."""
    when = datetime.fromtimestamp(1.8e9 + 0.4 * step, UTC).isoformat(timespec="milliseconds")
    return f"{step},{step / 12:.4f},{loss:.6f},1e-4,0.3,10.0,0.4,,,,1500.0,{when}\n"


def draw(reader: RunReader) -> int:
    """What one tick of the overview does; returns the bytes that go to the browser."""
    train, stops = reader.train(), reader.stops()
    resumed = pauses(train, stops)
    axis, look = x_axis(train, "step", False, 1.0, resumed), Look(span=1000)
    events = Events(reader.snapshot_steps(), reader.evaluated_steps(), {}, {}, resumed)
    figures = (
        training_figure(train, reader.validation(), events, axis, look, reader.last_step()),
        quality_figure(
            reader.metrics(),
            reader.descriptions,
            EVERY,
            reader.missing(),
            axis,
            look,
            reader.last_step(),
            reader.anchors(),
        ),
    )
    reader.evaluation_versions()
    return len(json.dumps(figures))


def milliseconds(work: Callable[[], object]) -> float:
    """Process time of one call."""
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def refresh(run: RunDir, reader: RunReader, step: int) -> float:
    """A new row, then a tick."""
    with run.train_csv.open("a", encoding="utf-8") as file:
        file.write(row(step, 0.1))
    return milliseconds(lambda: draw(reader))


def main() -> None:
    """Write the run, measure, print."""
    with tempfile.TemporaryDirectory() as folder:
        fake = write_run(Path(folder))
        firsts = [milliseconds(lambda: draw(RunReader(fake.run, fake.record.run_id))) for _ in range(REPEATS)]
        reader = RunReader(fake.run, fake.record.run_id)
        num_bytes = draw(reader)
        ticks = [refresh(fake.run, reader, NUM_STEPS + number) for number in range(1, REPEATS + 1)]
        print("| | median | slowest |\n| --- | --- | --- |")
        print(f"| first look, ms | {statistics.median(firsts):.0f} | {max(firsts):.0f} |")
        print(f"| refresh after a new row, ms | {statistics.median(ticks):.0f} | {max(ticks):.0f} |")
        print(f"| both figures, kB | {num_bytes / 1000:.0f} | |")


if __name__ == "__main__":
    main()
