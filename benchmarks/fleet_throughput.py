"""How many snapshots an hour do 1, 2 and 4 evaluators get through, by leases and on a local cluster of Ray?

    python benchmarks/fleet_throughput.py            then it writes its dated report; five minutes on two quiet cores
    python benchmarks/fleet_throughput.py --quick    two snapshots, one and two evaluators; writes nothing

The run has snapshots of random weights on the embedded model and nothing evaluated; each measurement has a copy of it.
Two figures: snapshots an hour from the first result to the last, and the whole command with its start.
The rows of metrics.csv must be equal everywhere. Each evaluator has one thread, so that evaluators beyond the number of
cores can add nothing: what they cost then is what sharing costs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.demo_run import created
from benchmarks.demo_run import environment as of_run
from benchmarks.demo_snapshots import Snapshots
from benchmarks.row import Row, tell
from shared.files.replacing import replace_file
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from shared.run_folder.times import parse_time

TIMES = ("timestamp", "evaluation_seconds")
REPORT = Path(__file__).parent / "reports" / f"fleet_throughput_{os.cpu_count()}-core-cpu_{datetime.now(UTC):%Y%m}.md"
NUM_SNAPSHOTS, NUMBERS = 16, (1, 2, 4)
NUM_PROMPTS, NUM_INFERENCE_STEPS = 6, 10


def by_leases(run: RunDir, number: int) -> None:
    """So many programs that share the folder; one that finds nothing left ends with 3 or 4."""
    command = [sys.executable, "-m", "evaluator", str(run.path)]
    programs = [subprocess.Popen(command, env=environment(run), stderr=subprocess.DEVNULL) for _ in range(number)]
    codes = {program.wait() for program in programs}
    assert codes <= {0, 3, 4}, codes
    if 4 in codes:
        subprocess.run(command, env=environment(run), stderr=subprocess.DEVNULL, check=False)


def on_ray(run: RunDir, number: int) -> None:
    """One program that gives so many members their work."""
    command = [sys.executable, "-m", "evaluator.fleet", str(run.path), "--on", "ray", "--evaluators", str(number)]
    subprocess.run(command, env=environment(run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def environment(run: RunDir) -> dict[str, str]:
    """One thread for each evaluator."""
    return {**of_run(run), "OMP_NUM_THREADS": "1"}


def measured(run: RunDir, way: str, number: int) -> tuple[float, float, list[dict[str, str]]]:
    """Snapshots an hour, seconds of the whole, and the rows without times.

    So many evaluators begin at once, so their first results come at once, too: these do not count in the rate, which is
    that of the others, from the first result to the last.
    """
    begun = time.monotonic()
    (by_leases if way == "leases" else on_ray)(run, number)
    whole = time.monotonic() - begun
    results = [result for step in steps_in(run.evaluations) if step and (result := run.read_result(step))]
    assert all(result.status == "ok" for result in results)
    ends = sorted(parse_time(result.created) for result in results)
    seconds = (ends[-1] - ends[0]).total_seconds()
    rows = [{name: cell for name, cell in row.items() if name not in TIMES} for row in read_rows(run.metrics_csv)]
    return 3600 * (len(ends) - number) / seconds, whole, rows


def table_of(run: RunDir, numbers: tuple[int, ...]) -> tuple[list[str], list[Row]]:
    """Lines of the report's table, and rows for that of all benchmarks."""
    lines = ["| evaluators | by leases, an hour | whole, s | on Ray, an hour | whole, s | rows equal |"]
    lines.append("| --: | --: | --: | --: | --: | --- |")
    expected: list[dict[str, str]] | None = None
    first: dict[str, float] = {}
    rows: list[Row] = []
    for number in numbers:
        cells: list[str] = []
        equal = True
        for way in ("leases", "ray"):
            with tempfile.TemporaryDirectory() as folder:
                copy = RunDir(Path(shutil.copytree(run.path, Path(folder) / "run")))
                rate, whole, found = measured(copy, way, number)
            expected = expected or found
            equal = equal and found == expected
            cells += [f"{rate:.0f}", f"{whole:.0f}"]
            one = first.setdefault(way, rate)
            if number > 1:
                by = "on Ray" if way == "ray" else "by leases"
                question, aim = f"snapshots an hour, {number} evaluators {by}", f"{min(number, os.cpu_count() or 1)} ×"
                rows.append(Row(question, f"one, on {os.cpu_count()} cores", f"{rate / one:.2f}, once", aim))
        lines.append(f"| {number} | {' | '.join(cells)} | {'yes' if equal else 'no'} |")
        print(lines[-1], flush=True)
    return lines, rows


def write_report(lines: list[str], seconds: float, load: float) -> None:
    """With the date, what was measured, and what it cannot say."""
    cores = os.cpu_count()
    text = "\n".join(
        [
            "# How many snapshots an hour do 1, 2 and 4 evaluators get through?",
            "",
            f"`python benchmarks/fleet_throughput.py`, {datetime.now(UTC):%d %B %Y}, {seconds:.0f} s in all, "
            f"load before it {load:.1f} on {cores} cores: {NUM_SNAPSHOTS} snapshots of random weights on the embedded "
            f"model, {NUM_PROMPTS} pictures in {NUM_INFERENCE_STEPS} steps each, one thread for each evaluator.",
            "",
            *lines,
            "",
            "The rate is that from the first result to the last, without the first result of each evaluator; the whole "
            "command includes its start, which on Ray is that of the cluster and of each member. The rows of "
            "metrics.csv are compared without their times.",
            "",
            f"What limits it: {cores} cores. More evaluators than that cannot be faster, and those figures say only "
            "what sharing the cores costs. Each figure was taken once. With a GPU for each evaluator nothing is shared "
            "but the run folder; that has not been measured.",
            "",
        ]
    )
    replace_file(REPORT, text.encode())


def main() -> None:
    """Measure each in a copy, print a table, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the shortest form; nothing is written")
    quick = parser.parse_args().quick
    begun, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        run, config = created(
            Path(folder), *((2, 2) if quick else (NUM_PROMPTS, NUM_INFERENCE_STEPS)), "evaluation.strengths=[]"
        )
        snapshots = Snapshots(run, config)
        for step in range(1, 3 if quick else NUM_SNAPSHOTS + 1):
            snapshots.publish(step)
        lines, rows = table_of(run, NUMBERS[:2] if quick else NUMBERS)
    if not quick:
        write_report(lines, time.monotonic() - begun, load)
    print(f"{time.monotonic() - begun:.0f} s in all")
    tell(rows)


if __name__ == "__main__":
    main()
