"""Where do the pictures of the final go best: on three finalists, or on more of them, half dropped in each round?

Run `python benchmarks/halving_simulation.py`. Runs with a known truth go through the evaluator's own functions, made as
in `confirmation_simulation.py`, with other curves, noises and seeds. Every rule but the first draws the same number of
pictures, the base model's included, on the same prompts with new seeds, and chooses by all pictures pooled, smoothed
over all snapshots:

* **first**: nothing is drawn again;
* **three**: today's final, three finalists with four new seeds;
* **seven**: seven finalists with two new seeds;
* **halving**: five with one new seed, the better three with one more, the better two with two more (successive halving,
  Karnin et al. 2013).

Regret is what the choice lacks to the best snapshot, as a share of the whole gain.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from benchmarks.confirmation_simulation import METRICS, Noise, Plan, run_of
from evaluator.selection.ending.confirmation import finalists
from evaluator.selection.ranking import Ranking, rank
from shared.run_folder.records.evaluation_result import Sample

SEED = 20261203
NUM_NEW = 8
"""New seeds of each prompt to draw from."""
Rows = Mapping[int, Sequence[Sample]]
CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "early peak, slow fall": lambda t: 1.4 * t**0.5 * np.exp(-0.9 * t**2),
    "two humps": lambda t: 0.8 * np.sin(np.pi * t) + 0.2 * np.sin(3 * np.pi * t) + 0.1 * t,
    "late rise": lambda t: t**2.2,
    "saw on a plateau": lambda t: 1 - np.exp(-5 * t) + 0.12 * np.sin(9 * np.pi * t),
}
PLANS = (
    Plan("10 snapshots, 4 prompts × 4", 10, 4, 4, 0, NUM_NEW),
    Plan("10 snapshots, 8 prompts × 2", 10, 8, 2, 0, NUM_NEW),
    Plan("24 snapshots, 12 prompts × 1", 24, 12, 1, 0, NUM_NEW),
)
NOISES = (Noise("luck of the seed", 0.25, 0.1, 0.9), Noise("luck of the prompt", 0.4, 0.35, 0.35))
RULES: dict[str, tuple[tuple[int, int], ...]] = {
    "first": (),
    "three": ((3, 4),),
    "seven": ((7, 2),),
    "halving": ((5, 1), (3, 1), (2, 2)),
}
"""Rounds of (contenders, new seeds of each prompt). The base model is drawn, too: 16 pictures of each prompt."""


def chosen(first: Ranking, evaluations: Rows, again: Rows, num_seeds: int, rounds: Sequence[tuple[int, int]]) -> int:
    """The step that a rule chooses. num_seeds: of each prompt in the first evaluation."""
    assert first.best
    alive, pooled, used = [first.best.step], first, num_seeds
    rows = {step: list(samples) for step, samples in evaluations.items()}
    if rounds:
        alive = list(finalists(first, rounds[0][0]))
    for count, seeds in rounds:
        alive = sorted(alive, key=pooled.trend.level)[:count]
        for step in (0, *alive):
            rows[step] += [sample for sample in again[step] if used <= sample.seed < used + seeds]
        used += seeds
        pooled = rank(rows, METRICS, scales=first.scales)
    return min(alive, key=pooled.trend.level)


def regrets(
    plan: Plan, noise: Noise, curve: Callable, num_runs: int, rng: np.random.Generator
) -> dict[str, list[float]]:
    """Of every rule, on the same runs."""
    gains = curve(np.arange(1, plan.num_snapshots + 1) / plan.num_snapshots)
    found: dict[str, list[float]] = {name: [] for name in RULES}
    for _ in range(num_runs):
        evaluations, again = run_of(plan, noise, gains, rng)
        first = rank(evaluations, METRICS)
        for name, rounds in RULES.items():
            step = chosen(first, evaluations, again, plan.num_seeds, rounds)
            found[name].append(float((gains.max() - gains[step - 1]) / gains.max()))
    return found


def lines(num_runs: int) -> Iterator[str]:
    """A table in Markdown; the last line has means over all, and differences to `three` with their standard error."""
    yield f"| plan | noise | truth | {' | '.join(RULES)} |"
    yield "|---|---|---|" + "--:|" * len(RULES)
    rng, everything = np.random.default_rng(SEED), {name: list[float]() for name in RULES}
    for plan in PLANS:
        for noise in NOISES:
            for truth, curve in CURVES.items():
                found = regrets(plan, noise, curve, num_runs, rng)
                for name, values in found.items():
                    everything[name] += values
                cells = " | ".join(f"{np.mean(values):.3f}" for values in found.values())
                yield f"| {plan.name} | {noise.name} | {truth} | {cells} |"
    cells: list[str] = []
    for values in everything.values():
        apart = np.array(values) - np.array(everything["three"])
        cells.append(f"{np.mean(values):.4f} ({apart.mean():+.4f} ± {apart.std() / len(apart) ** 0.5:.4f})")
    yield f"| all | | | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="simulated runs per line")
    for line in lines(parser.parse_args().runs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
