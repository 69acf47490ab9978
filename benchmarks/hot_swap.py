"""What does swapping a snapshot into the resident pipeline cost, and do 200 of them leak memory?

    python benchmarks/hot_swap.py               the swap beside unloading and loading, and beside loading the pipeline
    python benchmarks/hot_swap.py --leak 200    resident memory while one process evaluates so many snapshots

The evaluator's own classes on the embedded model, with snapshots of random weights, as large as the demo's. A swap is
everything from a file on disk to a pipeline proven to hold it: digest, header, finite values, the swap, the comparison
of every tensor in the pipeline with the file's. The three ways alternate. `--leak` cuts the drawing short (2 pictures,
4 steps) so that 200 fit into minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.demo_run import created
from benchmarks.demo_snapshots import Snapshots
from benchmarks.row import Row, middle, ratio, tell
from evaluator.__main__ import build
from evaluator.evaluate import Evaluator
from shared.config.schema import Config
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.run_dir import RunDir

SETTLED = 10


def evaluate_all(evaluator: Evaluator, count: int) -> list[EvaluationResult]:
    """The base model, then every snapshot."""
    found: list[EvaluationResult] = []
    for step in range(count + 1):
        result = evaluator.evaluate(step)
        assert result, "out of memory"
        assert result.status == "ok", result.reason
        found.append(result)
        if step % 20 == 0:
            print(json.dumps({"step": step, **result.seconds, **result.memory}), file=sys.stderr, flush=True)
    return found


def leak(count: int) -> None:
    """Resident memory after the 10th and the last evaluation."""
    with tempfile.TemporaryDirectory() as folder:
        run, config = created(Path(folder), 2, 4)
        snapshots = Snapshots(run, config)
        for step in range(1, count + 1):
            snapshots.publish(step)
        results = evaluate_all(build(run, config), count)
    memory = [result.memory["process_rss_mib"] for result in results]
    settled, last = memory[SETTLED], memory[-1]
    print(f"| resident after snapshot {SETTLED}, MiB | {settled:.1f} |")
    print(f"| after snapshot {count}, MiB | {last:.1f} |\n| ratio | {last / settled:.4f} |")
    print(f"| highest after snapshot {SETTLED}, over that | {max(memory[SETTLED:]) / settled:.4f} |")
    swaps = [result.seconds["swap"] for result in results[2:]]
    print(f"| swap, median s | {statistics.median(swaps):.3f} |")


def seconds_of_a_swap(evaluator: Evaluator, run: RunDir, step: int) -> float:
    """From the file of this step to a pipeline that holds it."""
    begun = time.perf_counter()
    evaluator.evaluation.swap(run.snapshot(step))
    return time.perf_counter() - begun


def swaps(run: RunDir, config: Config, pairs: int) -> list[tuple[float, float, float]]:
    """Seconds of each way: hot, unloaded before, into a pipeline that is loaded again."""
    evaluator = build(run, config)
    seconds_of_a_swap(evaluator, run, 1)
    found: list[tuple[float, float, float]] = []
    for number in range(pairs):
        step = 1 + number % 2
        hot = seconds_of_a_swap(evaluator, run, 3 - step)
        begun = time.perf_counter()
        evaluator.evaluation.swap(None)
        unloaded = time.perf_counter() - begun + seconds_of_a_swap(evaluator, run, step)
        begun = time.perf_counter()
        fresh = build(run, config)
        seconds_of_a_swap(fresh, run, step)
        found.append((hot, unloaded, time.perf_counter() - begun))
    return found


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leak", type=int, default=0, metavar="N", help="evaluate N snapshots instead")
    parser.add_argument("--quick", action="store_true", help="two of each")
    options = parser.parse_args()
    if options.leak:
        leak(options.leak)
        return
    with tempfile.TemporaryDirectory() as folder:
        run, config = created(Path(folder), 2, 4)
        snapshots = Snapshots(run, config)
        for step in (1, 2):
            snapshots.publish(step)
        found = swaps(run, config, 2 if options.quick else 10)
    hot = [one for one, _, _ in found]
    question = "a snapshot's file into the resident pipeline, proven"
    tell(
        [
            Row(question, "loading the pipeline again", ratio([one / again for one, _, again in found], ".3f")),
            Row(question, "unloading and loading the LoRA", ratio([one / other for one, other, _ in found])),
            Row(question, "–", middle([1000 * one for one in hot], ".0f", " ms"), "≤ 50 ms on a GPU"),
        ]
    )


if __name__ == "__main__":
    main()
