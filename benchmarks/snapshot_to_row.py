"""How long from a published snapshot to its row in the table? `python benchmarks/snapshot_to_row.py`

`python -m evaluator --follow` waits, warm, for the snapshots that this script publishes one by one, on the embedded
model with the demo's drawing (20 pictures, 20 steps). The time from the snapshot's final name to its row in
`metrics.csv` is divided by what drawing and scoring took of it, by the same evaluation's own record: what is above 1 is
noticing, checking, loading, writing pictures, and ranking. The second row says the same of five pictures in four steps,
which take about as long as five pictures of a real size take on a GPU.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.demo_run import created, environment
from benchmarks.demo_snapshots import Snapshots
from benchmarks.row import Row, middle, ratio, tell
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import listed

PATIENCE_SECONDS = 300


def until(is_so: Callable[[], bool]) -> None:
    """Look every two milliseconds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError("the evaluator does not answer")
        time.sleep(0.002)


def one(run: RunDir, snapshots: Snapshots, step: int) -> tuple[float, float]:
    """Seconds from the snapshot to its row, and of drawing and scoring."""
    snapshots.publish(step)
    begun = time.perf_counter()
    until(lambda: step in listed(run.metrics_csv))
    taken = time.perf_counter() - begun
    result = run.read_result(step)
    assert result
    assert result.status == "ok", result.reason
    return taken, result.seconds["generate"] + result.seconds["score"]


def measure(num_prompts: int, num_steps: int, pairs: int) -> tuple[list[float], list[float]]:
    """Ratios, and what is not drawing and scoring in seconds, of every snapshot but the first, which builds a LoRA."""
    with tempfile.TemporaryDirectory() as folder:
        run, config = created(Path(folder), num_prompts, num_steps)
        snapshots = Snapshots(run, config)
        command = [sys.executable, "-m", "evaluator", str(run.path), "--follow"]
        with subprocess.Popen(command, env=environment(run), stderr=subprocess.DEVNULL) as evaluator:
            try:
                until(lambda: 0 in listed(run.metrics_csv))
                found = [one(run, snapshots, step) for step in range(1, pairs + 2)][1:]
            finally:
                evaluator.send_signal(signal.SIGTERM)
    return [taken / inside for taken, inside in found], [taken - inside for taken, inside in found]


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter")
    quick = parser.parse_args().quick
    begun = time.monotonic()
    ratios, beside = measure(*((2, 2, 1) if quick else (20, 20, 6)))
    short, short_beside = measure(*((2, 2, 1) if quick else (5, 4, 10)))
    print(f"not drawing and scoring, s: {middle(beside)}; of five small pictures: {middle(short_beside)}")
    print(f"{time.monotonic() - begun:.0f} s in all, load at the end {os.getloadavg()[0]:.1f}")
    inside = "drawing and scoring alone, warm"
    tell(
        [
            Row("snapshot to its row in the table, the demo's 20 pictures", inside, ratio(ratios), "≤ 1.1 ×"),
            Row("the same, 5 pictures of 128² in 4 steps", inside, ratio(short)),
        ]
    )


if __name__ == "__main__":
    main()
