"""How many snapshots an hour do 1, 2 and 4 evaluators get through, by leases and on a local cluster of Ray?

    python benchmarks/fleet_throughput.py RUN [--numbers 1 2 4]

RUN has been trained and not evaluated; each measurement has a copy of it. Two figures: snapshots an hour from the first
result to the last, which is the rate, and the whole command with its start. Rows must be equal everywhere.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shared.launch.supervisor import child_environment
from shared.run_folder.run_dir import RunDir, open_run, steps_in
from shared.run_folder.tables import read_rows
from shared.run_folder.times import parse_time

TIMES = ("timestamp", "evaluation_seconds")


def by_leases(run: RunDir, number: int) -> None:
    """So many programs that share the folder; one that finds nothing left ends with 3 or 4."""
    command = [sys.executable, "-m", "evaluator", str(run.path)]
    programs = [subprocess.Popen(command, env=environment(run), stderr=subprocess.DEVNULL) for _ in range(number)]
    codes = {program.wait() for program in programs}
    if 4 in codes:
        subprocess.run(command, env=environment(run), stderr=subprocess.DEVNULL, check=False)


def on_ray(run: RunDir, number: int) -> None:
    """One program that gives so many members their work."""
    command = [sys.executable, "-m", "evaluator.fleet", str(run.path), "--on", "ray", "--evaluators", str(number)]
    subprocess.run(command, env=environment(run), stderr=subprocess.DEVNULL, check=True)


def environment(run: RunDir) -> dict[str, str]:
    """Of a program that nobody holds a pipe to."""
    return {**child_environment(run), "DARKROOM_PARENT_PIPE": "0"}


def measured(run: RunDir, way: str, number: int) -> tuple[float, float, list[dict[str, str]]]:
    """Snapshots an hour between the first and the last result, seconds of the whole, and the rows without times."""
    begun = time.monotonic()
    (by_leases if way == "leases" else on_ray)(run, number)
    whole = time.monotonic() - begun
    steps = steps_in(run.evaluations)
    results = [result for step in steps if step and (result := run.read_result(step))]
    ends = sorted(parse_time(result.created) for result in results)
    seconds = (ends[-1] - ends[0]).total_seconds()
    rows = [{name: cell for name, cell in row.items() if name not in TIMES} for row in read_rows(run.metrics_csv)]
    return 3600 * (len(ends) - 1) / seconds, whole, rows


def main() -> None:
    """Measure each in a copy, print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--numbers", type=int, nargs="+", default=[1, 2, 4])
    arguments = parser.parse_args()
    run = open_run(arguments.run)
    expected: list[dict[str, str]] | None = None
    print("| evaluators | by leases, an hour | whole, s | on Ray, an hour | whole, s | rows equal |")
    print("| --: | --: | --: | --: | --: | --- |")
    for number in arguments.numbers:
        cells: list[str] = []
        equal = True
        for way in ("leases", "ray"):
            with tempfile.TemporaryDirectory() as folder:
                copy = RunDir(Path(shutil.copytree(run.path, Path(folder) / "run")))
                rate, whole, rows = measured(copy, way, number)
            expected = expected or rows
            equal = equal and rows == expected
            cells += [f"{rate:.0f}", f"{whole:.0f}"]
        print(f"| {number} | {' | '.join(cells)} | {'yes' if equal else 'no'} |", flush=True)


if __name__ == "__main__":
    main()
