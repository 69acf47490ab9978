"""How long does training wait for its previews? `python benchmarks/waiting.py RUN`, on a finished run.

From the run's own records: the gaps between the rows of train.csv that neither a step nor a measurement of the held-out
loss (validation.csv) explains are the time the loop was blocked by copying snapshots and checkpoints;
evaluation_seconds in metrics.csv is what the loop would have waited had the same pictures been drawn inside it. Where
both programs share cores, evaluation also slows the steps beside it: the ratio of their medians says how much. All are
ratios of one run on one machine.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shared.run_folder.run_dir import RunDir, open_run
from shared.run_folder.tables import read_rows
from shared.run_folder.times import parse_time


@dataclass(frozen=True)
class Waiting:
    """Shares are of the wall time between the first and the last row of train.csv."""

    num_steps: int
    num_evaluations: int
    training_seconds: float
    blocked_share: float
    validation_share: float
    """Held-out losses: the trainer's own work, which no second process could take from it."""
    inside_share: float
    """What previews drawn inside the loop would have taken of the longer run's wall time."""
    slowdown: float | None
    """Median step while evaluating over median step while the evaluator was idle; None if it never was either."""


def measure(run: RunDir) -> Waiting:
    """Read train.csv and the results of one run."""
    rows = read_rows(run.train_csv)
    ends = [parse_time(row["timestamp"]) for row in rows]
    steps = [float(row["step_seconds"]) for row in rows]
    wall = (ends[-1] - ends[0]).total_seconds()
    last = int(rows[-1]["step"])
    validation = sum(float(row["seconds"]) for row in read_rows(run.validation_csv) if 0 < int(row["step"]) < last)
    evaluations = [row for row in read_rows(run.metrics_csv) if row["status"] == "ok"]
    inside = sum(float(row["evaluation_seconds"]) for row in evaluations if row["step"] != "0")
    busy = [(parse_time(row["timestamp"]).timestamp(), float(row["evaluation_seconds"])) for row in evaluations]
    return Waiting(
        num_steps=len(rows),
        num_evaluations=len(evaluations),
        training_seconds=wall,
        blocked_share=max(0.0, wall - sum(steps[1:]) - validation) / wall,
        validation_share=validation / wall,
        inside_share=inside / (wall + inside),
        slowdown=_slowdown(ends, steps, busy),
    )


def _slowdown(ends: list[datetime], steps: list[float], busy: list[tuple[float, float]]) -> float | None:
    def is_beside(end: datetime) -> bool:
        return any(created - seconds <= end.timestamp() <= created for created, seconds in busy)

    beside = [seconds for end, seconds in zip(ends, steps, strict=True) if is_beside(end)]
    alone = [seconds for end, seconds in zip(ends, steps, strict=True) if not is_beside(end)]
    return median(beside) / median(alone) if beside and alone else None


if __name__ == "__main__":
    found = measure(open_run(Path(sys.argv[1])))
    print(f"{found.num_steps} steps in {found.training_seconds:.1f} s, {found.num_evaluations} evaluations")
    print(f"training waited for saves:                   {found.blocked_share:7.2%} of its wall time")
    print(f"and measured held-out losses in:             {found.validation_share:7.2%} of its wall time")
    print(f"the same previews inside the loop would take {found.inside_share:7.2%} of its wall time")
    if found.slowdown is not None:
        print(f"a step beside an evaluation takes            {found.slowdown:7.2f} × a step alone (shared cores)")
