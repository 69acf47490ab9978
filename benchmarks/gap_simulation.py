"""When is the sign `gap` raised? `python benchmarks/gap_simulation.py` prints a report's table.

Runs of 50 validations, each loss that of a picture. All pictures of a run wander together, as the weights do (an
autoregressive process), and each a little by itself. The sign is asked at every second validation, as snapshots come: a
run counts if it is raised at any. "Before" is the trend test that this one replaced: Kendall's τ of the gap over steps.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from evaluator.selection.held_out_losses import Validated
from evaluator.selection.overfitting import gap_rising

Array = NDArray[np.float64]
SEED, NUM_RUNS, NUM_VALIDATIONS = 880_000, 200, 50
CASES = {
    "plateau": (0.0, 0.0),
    "the probe alone falls by 5 %": (0.0, -0.05),
    "held-out rises by 3 %, the probe falls by 5 %": (0.03, -0.05),
    "held-out rises by 6 %, the probe falls by 10 %": (0.06, -0.1),
    "held-out rises by 20 %, the probe falls by 30 %": (0.2, -0.3),
}
"""Changes from two fifths of the run to its end, of the mean; of single pictures they spread by half."""


def wandering(rng: np.random.Generator, size: int, spread: float, memory: float) -> Array:
    """An autoregressive process of the first order, (T, size)."""
    values = [rng.normal(0, spread, size)]
    for _ in range(NUM_VALIDATIONS - 1):
        values.append(memory * values[-1] + rng.normal(0, spread * (1 - memory**2) ** 0.5, size))
    return np.array(values)


def losses(
    rng: np.random.Generator,
    num_pictures: int,
    changes: tuple[float, float],
    together: float,
    alone: float,
    memory: float,
) -> tuple[Array, Array]:
    """(Held out, probe), (T, P) each: both fall by a fifth at first."""
    time = np.linspace(0, 1, NUM_VALIDATIONS)
    common = wandering(rng, 1, together, memory) + 0.2 * np.exp(-time / 0.08)[:, None]
    late = np.clip((time - 0.4) / 0.6, 0, 1)[:, None]
    both: list[Array] = []
    for change in changes:
        levels = rng.lognormal(-2, 0.5, num_pictures)
        own = change * (1 + 0.5 * rng.normal(size=num_pictures))
        both.append(levels * np.exp(common + wandering(rng, num_pictures, alone, memory) + late * own))
    return both[0], both[1]


def old_rule(held_out: Array, probe: Array) -> bool:
    """More than 1 % above its lowest, and since then a trend of the gap."""
    means = held_out.mean(axis=1)
    gaps, lowest = means - probe.mean(axis=1), int(means.argmin())
    since = range(lowest + 1, len(means))
    if means[-1] <= 1.01 * means[lowest] or len(since) < 5:
        return False
    return bool(kendalltau(list(since), gaps[lowest + 1 :], alternative="greater").pvalue < 0.01)


def validated(held_out: Array, probe: Array) -> list[Validated]:
    """As the evaluator reads them."""
    rows: list[Validated] = []
    for step, (some, others) in enumerate(zip(held_out, probe, strict=True)):
        named = ({str(number): float(loss) for number, loss in enumerate(part)} for part in (some, others))
        rows.append(Validated(step, float(some.mean()), float(some.mean() - others.mean()), *named))
    return rows


def rates(
    num_pictures: int, changes: tuple[float, float], together: float, alone: float, memory: float
) -> tuple[float, float]:
    """Shares of runs in which the sign is raised, (before, now)."""
    before = now = 0
    for run in range(NUM_RUNS):
        rng = np.random.default_rng(
            [SEED, run, num_pictures, round(1e4 * together), round(1e4 * alone), round(100 * memory)]
        )
        held_out, probe = losses(rng, num_pictures, changes, together, alone, memory)
        rows, ends = validated(held_out, probe), range(2, NUM_VALIDATIONS + 1, 2)
        before += any(old_rule(held_out[:end], probe[:end]) for end in ends)
        now += any(gap_rising(rows[:end]).raised for end in ends)
    return before / NUM_RUNS, now / NUM_RUNS


if __name__ == "__main__":
    numbers = (4, 8, 16)
    print(
        "| together | alone | memory | truth | " + " | ".join(f"{n} pictures" for n in numbers) + " |\n|" + " --- |" * 7
    )
    for together, alone, memory in ((0.01, 0.005, 0.9), (0.01, 0.015, 0.8), (0.02, 0.01, 0.95)):
        for name, changes in CASES.items():
            cells = [rates(number, changes, together, alone, memory) for number in numbers]
            told = " | ".join(f"{before:.0%} → {now:.1%}" for before, now in cells)
            print(f"| {together:.1%} | {alone:.1%} | {memory} | {name} | {told} |", flush=True)
