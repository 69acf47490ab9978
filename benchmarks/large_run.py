"""What does a refresh of the dashboard cost when a run has grown large? `python benchmarks/large_run.py`

Runs of 10³ to 10⁶ rows and 10 to 10³ evaluations. Ten rows come at a time; then, in alternation, the dashboard's reader
reads what is new, pandas reads the same tables again, and a page asks for everything that it shows, as it does in a
browser: the first screen's document with the versions, and the two charts that are open. Processor times, for machines
are busy with other things, and the bytes that a page's request reads (`rchar` of the kernel; 0 where there is none). A
chart is asked for only when its curves have grown by a pixel: after 30 s in a run of 10⁶ steps.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from starlette.requests import Request

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.row import Row, ratio, tell
from dashboard.data.reader import RunReader
from dashboard.server.figures import figure_routes
from dashboard.server.screen import screen_routes
from examples.fake_run.evaluations import invented_result
from examples.fake_run.run import FakeRun, create
from examples.fake_run.verdict import rebuild_tables
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import TRAIN_COLUMNS

SIZES = ((1_000, 10), (100_000, 100), (1_000_000, 1_000))
"""Rows and evaluations."""
ASKED = (
    ("/screen/{run}.json", {}),
    ("/figures/{run}/{chart}.json", {"chart": "training-first"}),
    ("/figures/{run}/{chart}.json", {"chart": "quality-first"}),
)
NEW_ROWS = 10
"""At each refresh, as many as a fast trainer writes between two."""


def write_run(folder: Path, num_steps: int, num_evaluations: int) -> FakeRun:
    """A run folder of that size: rows as the trainer writes them, evaluations without pictures."""
    every = num_steps // num_evaluations
    fake = create(folder / "large", num_steps, every)
    losses = np.random.default_rng(0).lognormal(-2.5, 0.35, num_steps)
    with fake.run.train_csv.open("w", encoding="utf-8") as file:
        file.write(",".join(TRAIN_COLUMNS) + "\n")
        file.writelines(row(step, losses[step - 1]) for step in range(1, num_steps + 1))
    fake.publish_snapshot(every)
    for step in range(0, num_steps + 1, every):
        fake.run.evaluation(step).mkdir()
        invented_result(fake, step, "", "").write(fake.run.evaluation(step) / "result.json")
        if step > every:
            shutil.copytree(fake.run.snapshot(every), fake.run.snapshot(step))
    rebuild_tables(fake)
    return fake


def row(step: int, loss: float) -> str:
    """One line of train.csv."""
    when = datetime.fromtimestamp(1.8e9 + 0.4 * step, UTC).isoformat(timespec="milliseconds")
    return f"{step},{step / 12:.4f},{loss:.6f},1e-4,0.3,10.0,0.4,,,,1500.0,{when}\n"


def read_bytes() -> int:
    """What this process has read so far, from whatever it was; 0 where nobody counts."""
    with suppress(OSError):
        return int(Path("/proc/self/io").read_text(encoding="ascii").partition("rchar: ")[2].split()[0])
    return 0


def milliseconds(work: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


class Browser:
    """Asks as a page does; what it has already is not sent again."""

    def __init__(self, run: RunDir) -> None:
        os.environ["DARKROOM_RUNS"] = str(run.path.parent)
        routes = {route.path: route.endpoint for route in (*screen_routes(), *figure_routes())}
        self._asked = [(routes[path], {"run": run.path.name, **more}) for path, more in ASKED]
        self._tags = [""] * len(ASKED)

    def refresh(self) -> None:
        """Everything that is on the page."""
        for number, (endpoint, parameters) in enumerate(self._asked):
            headers = [(b"if-none-match", self._tags[number].encode())]
            scope = {"type": "http", "query_string": b"", "headers": headers, "path_params": parameters}
            answer = endpoint(Request(scope))
            assert answer.status_code in (200, 304), answer.body
            self._tags[number] = answer.headers["ETag"]


def reread(run: RunDir) -> None:
    """All tables again, whole."""
    for path in (run.train_csv, run.validation_csv, run.metrics_csv):
        if path.exists():
            pd.read_csv(path)


@dataclass
class Found:
    """Of one size, at each refresh; milliseconds of a processor."""

    first_look: float = 0.0
    reading: list[float] = field(default_factory=list)
    pandas: list[float] = field(default_factory=list)
    page: list[float] = field(default_factory=list)
    num_bytes: list[float] = field(default_factory=list)
    num_new: int = 0
    """Bytes of the new rows."""


def measure(num_steps: int, num_evaluations: int, pairs: int) -> Found:
    """Write a run of that size, look at it, let it grow."""
    found = Found()
    with tempfile.TemporaryDirectory() as folder:
        fake = write_run(Path(folder), num_steps, num_evaluations)
        browser, reader = Browser(fake.run), RunReader(fake.run, fake.record.run_id)
        found.first_look = milliseconds(browser.refresh)
        browser.refresh()
        read(reader)
        for number in range(pairs):
            first = num_steps + 1 + NEW_ROWS * number
            rows = "".join(row(step, 0.1) for step in range(first, first + NEW_ROWS))
            with fake.run.train_csv.open("a", encoding="utf-8") as file:
                found.num_new = file.write(rows)
            found.reading.append(milliseconds(lambda: read(reader)))
            found.pandas.append(milliseconds(lambda: reread(fake.run)))
            before = read_bytes()
            found.page.append(milliseconds(browser.refresh))
            found.num_bytes.append(read_bytes() - before)
    return found


def read(reader: RunReader) -> None:
    """What is new."""
    for table in (reader.train, reader.validation, reader.metrics):
        table()


def main() -> None:
    """Write the runs, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest run only")
    quick = parser.parse_args().quick
    begun = time.monotonic()
    rows: list[Row] = []
    pages: list[float] = []
    print("rows, evaluations | first look, ms | reading, ms | pandas, ms | page, ms | bytes read by it | bytes new")
    for num_steps, num_evaluations in SIZES[:1] if quick else SIZES:
        found = measure(num_steps, num_evaluations, 2 if quick else 5)
        pages.append(median(found.page))
        print(
            f"{num_steps}, {num_evaluations} | {found.first_look:.0f} | {median(found.reading):.2f} "
            f"| {median(found.pandas):.1f} | {pages[-1]:.0f} | {median(found.num_bytes):.0f} | {found.num_new}"
        )
        ratios = [own / other for own, other in zip(found.reading, found.pandas, strict=True)]
        question = f"reading a refresh of the dashboard, {num_steps:,} rows and {num_evaluations:,} evaluations"
        rows.append(Row(question, "pandas reads the tables again", ratio(ratios, ".3f"), "grows with new rows only"))
    rows.append(Row("a page's whole refresh, at the largest", "at the smallest", f"{pages[-1] / pages[0]:.1f}"))
    print(f"{time.monotonic() - begun:.0f} s in all")
    tell([rows[-2], *rows[:-2], rows[-1]])


if __name__ == "__main__":
    main()
