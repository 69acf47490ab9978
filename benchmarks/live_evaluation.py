"""What does live evaluation cost the whole run? `python benchmarks/live_evaluation.py`

A short demo on this machine's processors, three ways in alternation, from the first optimizer step to the last result:

* beside: the evaluator starts with the trainer and draws while it trains; each has half of the cores;
* inside: the trainer alone with all cores, then the same evaluations alone with all cores, as a loop that stops to draw
  would have them one after another; the evaluator's start, which such a loop has not, is not counted;
* none: the trainer alone with all cores.

With a second device the trainer keeps its own: for that, the trainer is held on one core, and the evaluator on another
or not started; the trainer's steps are compared. Where programs cannot be held on cores (macOS, Windows) or there is
only one, that row is missing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil

from benchmarks.demo_run import created, environment
from benchmarks.row import Row, ratio, tell
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from shared.run_folder.times import parse_time


@dataclass(frozen=True)
class Size:
    """Of one run."""

    num_steps: int
    snapshot_steps: int
    num_prompts: int
    num_inference_steps: int


FULL = Size(100, 25, 8, 12)
QUICK = Size(4, 2, 2, 2)


@dataclass(frozen=True)
class Took:
    """Of one run. training: seconds from the first to the last step. results: when each one came, with its seconds."""

    first: datetime
    training: float
    step: float
    """Median seconds of a step."""
    results: list[tuple[datetime, float]]

    @property
    def all(self) -> float:
        """Seconds from the first step to the last step or result."""
        ends = [(ended - self.first).total_seconds() for ended, _ in self.results]
        return max([self.training, *ends])

    @property
    def evaluations(self) -> float:
        """Seconds of drawing, scoring and swapping."""
        return sum(seconds for _, seconds in self.results)


def start(run: RunDir, *command: str, threads: int | None = None, core: int | None = None) -> subprocess.Popen[bytes]:
    """A program of the run. threads: None leaves it to the program. core: the only one that it may use."""
    mine = {name: value for name, value in environment(run).items() if name != "OMP_NUM_THREADS"}
    if threads:
        mine["OMP_NUM_THREADS"] = str(threads)
    line = [sys.executable, "-m", command[0], str(run.path), *command[1:]]
    process = subprocess.Popen(line, env=mine, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if core is not None:
        psutil.Process(process.pid).cpu_affinity([core])
    return process


def alone(size: Size, threads: int, core: int | None = None, *, evaluates: bool = True) -> Took:
    """Train with nothing beside it. evaluates: afterwards, with nothing beside it either."""
    with tempfile.TemporaryDirectory() as folder:
        run, _ = created(Path(folder), size.num_prompts, size.num_inference_steps, *settings(size))
        finish(start(run, "trainer", threads=threads, core=core))
        if evaluates:
            finish(start(run, "evaluator", "--once", threads=threads))
        return took(run)


def beside(size: Size, threads: int | None = None, cores: tuple[int, int] | tuple[None, None] = (None, None)) -> Took:
    """Train with the evaluator beside it. cores: of the trainer and of the evaluator."""
    with tempfile.TemporaryDirectory() as folder:
        run, _ = created(Path(folder), size.num_prompts, size.num_inference_steps, *settings(size))
        trainer = start(run, "trainer", threads=threads, core=cores[0])
        evaluator = start(run, "evaluator", "--follow", threads=threads, core=cores[1])
        finish(trainer)
        while len(steps_in(run.evaluations)) <= size.num_steps // size.snapshot_steps:
            assert evaluator.poll() is None
            time.sleep(0.1)
        evaluator.terminate()
        finish(evaluator)
        return took(run)


def settings(size: Size) -> tuple[str, ...]:
    """Beside the demo's: no held-out loss, no checkpoint before the end, nothing at other strengths."""
    return (
        f"train.max_train_steps={size.num_steps}",
        f"train.snapshot_steps={size.snapshot_steps}",
        f"train.checkpointing_steps={size.num_steps}",
        "train.lr_warmup_steps=0",
        "train.validation_steps=false",
        "evaluation.strengths=[]",
    )


def took(run: RunDir) -> Took:
    """From the tables and results of a run."""
    rows = read_rows(run.train_csv)
    ends = [parse_time(row["timestamp"]) for row in rows]
    found = [result for step in steps_in(run.evaluations) if (result := run.read_result(step))]
    assert all(result.status == "ok" for result in found)
    results = [(parse_time(result.created), sum(result.seconds.values())) for result in found]
    step = median(float(row["step_seconds"]) for row in rows[1:])
    return Took(ends[0], (ends[-1] - ends[0]).total_seconds(), step, results)


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for its end, which must be a good one."""
    assert process.wait() == 0, process.args


def two_cores() -> tuple[int, int] | None:
    """On which programs can be held; None: not on this system, or there is one only."""
    if not hasattr(psutil.Process, "cpu_affinity"):
        return None
    first, *others = psutil.Process().cpu_affinity()
    return (first, others[0]) if others else None


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one pair of a few steps")
    quick = parser.parse_args().quick
    size, pairs, all_cores = (QUICK, 1, os.cpu_count() or 1) if quick else (FULL, 5, os.cpu_count() or 1)
    begun = time.monotonic()
    inside: list[float] = []
    none: list[float] = []
    second: list[float] = []
    for _ in range(pairs):
        live, by_turns = beside(size), alone(size, all_cores)
        inside.append(live.all / (by_turns.training + by_turns.evaluations))
        none.append(live.all / by_turns.training)
        if one_each := two_cores():
            live = beside(size, 1, one_each)
            second.append(alone(size, 1, one_each[0], evaluates=False).step / live.step)
    rows = [
        Row("whole run with live evaluation, same device", "evaluation inside the loop", ratio(inside), "≤ 0.85 ×"),
        Row("whole run with live evaluation, same device", "no evaluation", ratio(none)),
    ]
    if second:
        question = "steps a second beside an evaluator on another core"
        rows.append(Row(question, "the trainer alone on one core", ratio(second, ".3f"), "≥ 0.99 ×"))
    print(f"{time.monotonic() - begun:.0f} s in all")
    tell(rows)


if __name__ == "__main__":
    main()
