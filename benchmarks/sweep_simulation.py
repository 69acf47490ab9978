"""What would a sweep of 1,000 trials ask of the program that leads it, and of the page that shows it?

    python benchmarks/sweep_simulation.py [--folder FOLDER] [--sizes 100 300 1000]

Trials are acted: they publish an invented result at each look, so nothing but the sweep's own work takes time. The
loop, the journal with Optuna's sampler, pruning, the record and the page are the real ones. Two tables: what the sweep
spends on a trial by how many there have been, and what *Compare* and the list of runs spend once all are there (the
list: of as many copies of an invented run). Process time, for machines are busy with other things.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tasks
from benchmarks.process_time import milliseconds
from dashboard.charts.sweep import importance_figure, trials_figure
from dashboard.data.runs import run_lines, run_names
from dashboard.story.cards import cards
from dashboard.story.sweep import sweep_data, trials_table
from examples.fake_run.history import write_history
from examples.fake_run.run import create
from shared.run_folder.run_dir import RunDir
from shared.sweeps import study, sweep_file, sweeping
from shared.sweeps.opening import opened
from shared.sweeps.record import SweepRecord
from shared.sweeps.results import Results
from shared.sweeps.sweep_dir import SweepDir, readable
from shared.sweeps.sweeping import Sweeping
from tests.unit.shared.sweeps.stand_in import Stage, base_loss

SIZES = (100, 300, 1000)
SLOTS = 32
SWEEP = """
[sweep]
num_trials = {trials}
seeds = [0, 1, 2]
output_dir = "{output}"

[base.data]
path = "pictures"

[space]
"train.learning_rate" = {{ low = 1e-6, high = 1e-2, log = true }}
"lora.rank" = [2, 4, 8, 16, 32, 64]
"""


def luck(number: int) -> float:
    """Of a trial and prompt; the same in every run of this script."""
    return 0.02 * ((number * 7919) % 101 / 50 - 1)


def score(settings: Mapping[str, Any], step: int, prompt: int) -> float:
    """A learning rate near 3e-4 and a high rank are best."""
    rate, rank = settings["train.learning_rate"], settings["lora.rank"]
    skill = 1 / (1 + (math.log10(rate / 3e-4)) ** 2) * (0.7 + 0.05 * math.log2(rank))
    name = int(settings["run.name"].removeprefix("trial-"))
    return base_loss(prompt) * (1 - 0.02 * step * skill / 2) + luck(name + prompt)


def swept(folder: Path, size: int) -> tuple[SweepDir, list[tuple[int, float]]]:
    """A sweep of so many trials; (trials so far, process ms of the loop for each of the last ones)."""
    path = folder / "large.toml"
    path.write_text(SWEEP.format(trials=size, output=(folder / "sweeps").as_posix()), encoding="utf-8")
    sweep = sweep_file.read(path, tasks.settings)
    sweeping.POLL_SECONDS = 0.0
    spent: list[tuple[int, float]] = []
    with opened(sweep, lambda: ("pair-0", "pair-1")) as made:
        session = Sweeping(sweep, made, study.Study(made.journal, sweep), Stage(score, num_slots=SLOTS))
        begun = [0, time.process_time()]

        def heard(text: str) -> None:
            number = int(text[6:].split(" ", 1)[0]) if text.startswith("trial-") and " begins" in text else 0
            if number >= begun[0] + size // 10:
                now = time.process_time()
                spent.append((number, 1000 * (now - begun[1]) / (number - begun[0])))
                begun[:] = [number, now]

        session.say = heard
        session.run()
    return made, spent


def copies(folder: Path, size: int) -> Path:
    """A folder of so many finished runs: one invented run, each copy with an id of its own."""
    first = create(folder / "first" / "run", 60, 20)
    write_history(first)
    for number in range(size):
        copy = RunDir(folder / "runs" / f"trial-{number:03d}")
        shutil.copytree(first.run.path, copy.path, copy_function=os.link)
        copy.record.unlink()
        first.record.model_copy(update={"run_id": f"{number:08x}"}).write(copy.record)
    return folder / "runs"


def shown(made: SweepDir, runs: Path) -> dict[str, float]:
    """What the page spends, ms of process time, and bytes. runs: as many, for the list."""
    os.environ["DARKROOM_RUNS"] = str(runs)
    record = readable(made)
    assert record is not None
    figure = trials_figure(record)
    return {
        "MiB of journal.log": made.journal.stat().st_size / 2**20,
        "MiB of sweep.json": made.record.stat().st_size / 2**20,
        "ms: read sweep.json": milliseconds(lambda: readable(made)),
        "ms: Compare, words, table and both charts": milliseconds(lambda: compare(made, record)),
        "MiB of the chart of all trials": len(json.dumps(figure)) / 2**20,
        "ms: page Runs, all cards, first": milliseconds(lambda: cards(datetime.now(UTC), UTC), 1),
        "ms: page Runs, all cards, again": milliseconds(lambda: cards(datetime.now(UTC), UTC)),
        "ms: list of runs in the sidebar": milliseconds(run_lines),
        "ms: names of runs": milliseconds(run_names),
        "ms: begin again: journal and all results": milliseconds(lambda: begun_again(made), 1),
    }


def compare(made: SweepDir, record: SweepRecord) -> tuple[object, ...]:
    """Everything that Compare draws of a sweep."""
    return sweep_data(made, record), trials_table(record), trials_figure(record), importance_figure(record)


def begun_again(made: SweepDir) -> None:
    """What a sweep that goes on reads before its first trial."""
    sweep = sweep_file.read(made.file, tasks.settings)
    for one in study.Study(made.journal, sweep).trials():
        Results(made.run(one.number)).refresh()


def main() -> None:
    """Sweep, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, help="where to make the sweeps; a temporary one")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="trials")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    pages: dict[int, dict[str, float]] = {}
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            made, spent = swept(Path(name), size)
            pages[size] = shown(made, copies(Path(name) / "list", size))
        if size == max(arguments.sizes):
            print("| trials so far | process ms per trial |\n| --: | --: |")
            for number, cost in spent:
                print(f"| {number:,} | {cost:.0f} |")
            print()
    print("| | " + " | ".join(f"{size:,}" for size in pages) + " |")
    print("| --- |" + " --: |" * len(pages))
    for part in next(iter(pages.values())):
        print(f"| {part} | " + " | ".join(f"{pages[size][part]:.2f}" for size in pages) + " |")
    print(f"\nPeak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB.")


if __name__ == "__main__":
    main()
