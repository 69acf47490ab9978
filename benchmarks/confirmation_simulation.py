"""Does evaluating the best again choose better, and do its intervals keep their word?

Run `python benchmarks/confirmation_simulation.py`. Runs with a known truth go through the evaluator's own functions. A
picture's loss is that of its prompt, minus the snapshot's gain (times how much this prompt gains), plus what this
snapshot happens to do on this prompt (correlated from snapshot to snapshot), plus the luck of the seed. The base
model's pictures have such luck too, and every difference shares it. "Before" is the rule that this one replaced: the
second evaluation alone decides, on at least 4 unseen prompts, by the earliest within one standard error; its interval
holds for three. The truth of an interval is the mean over all prompts there could be.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from evaluator.selection.ending.confirmation import Evaluations, confirm, finalists
from evaluator.selection.ranking import Ranking, rank
from shared.run_folder.metric_descriptions import Column, MetricDescription, MetricDescriptions
from shared.run_folder.records.evaluation_result import Sample
from shared.statistics.paired import difference, estimate, mean

SEED = 20261126
LOSS = Column(name="loss", meaning="", direction="lower", role="loss", weight=1)
METRICS = MetricDescriptions(metrics=(MetricDescription(name="loss", columns=(LOSS,)),))
CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "no gain": lambda t: 0 * t,
    "plateau": lambda t: 1 - np.exp(-6 * t),
    "rising": lambda t: t**0.8,
    "rise and fall": lambda t: np.sin(np.pi * np.minimum(0.85 * t, 1)),
    "small": lambda t: 0.3 * (1 - np.exp(-3 * t)),
}
"""Gain by share of the training, in standard deviations of the base model's loss over prompts."""
MIN_UNSEEN_BEFORE = 4


@dataclass(frozen=True)
class Plan:
    """How a run is evaluated."""

    name: str
    num_snapshots: int
    num_prompts: int
    num_seeds: int
    num_further: int
    confirm_seeds: int


@dataclass(frozen=True)
class Noise:
    """Standard deviations."""

    name: str
    prompt_gain: float
    interaction: float
    picture: float


PLANS = (
    Plan("init, 8 to 40 pictures", 10, 4, 4, 0, 4),
    Plan("init, 80 pictures", 10, 8, 4, 0, 4),
    Plan("init, 240 pictures", 10, 16, 2, 8, 2),
    Plan("long, 20 snapshots", 20, 4, 4, 4, 4),
)
NOISES = (Noise("luck of the seed", 0.3, 0.15, 0.7), Noise("luck of the prompt", 0.3, 0.45, 0.25))


@dataclass
class Tally:
    """One rule over many runs."""

    regrets: list[float]
    covered: list[bool]
    claimed: list[bool]

    def cells(self, *, gains: bool) -> list[str]:
        """Regret, claims of being better, coverage."""
        if not self.claimed:
            return ["–", "–", "–"]
        regret = f"{np.mean(self.regrets):.3f}" if gains else "–"
        return [regret, f"{np.mean(self.claimed):.1%}", f"{np.mean(self.covered):.1%}"]


def run_of(plan: Plan, noise: Noise, gains: np.ndarray, rng: np.random.Generator) -> tuple[Evaluations, Evaluations]:
    """First and second evaluation: step → samples."""
    count, steps = plan.num_prompts + plan.num_further, len(gains)
    level, slope = 3 + rng.normal(size=count), 1 + noise.prompt_gain * rng.normal(size=count)
    drift = rng.normal(size=(count, steps))
    for step in range(1, steps):
        drift[:, step] = 0.6 * drift[:, step - 1] + 0.8 * drift[:, step]
    gain = np.hstack([np.zeros((count, 1)), slope[:, None] * gains + noise.interaction * drift])

    def drawn(prompts: range, seeds: range) -> dict[int, list[Sample]]:
        luck = noise.picture * rng.normal(size=(steps + 1, count, len(seeds)))
        return {
            step: [
                Sample.model_construct(
                    prompt_id=f"p{prompt}",
                    prompt=f"p{prompt}",
                    seed=seed,
                    metrics={"loss": float(level[prompt] - gain[prompt, step] + luck[step, prompt, number])},
                )
                for prompt in prompts
                for number, seed in enumerate(seeds)
            ]
            for step in range(steps + 1)
        }

    second = range(plan.num_seeds, plan.num_seeds + plan.confirm_seeds)
    return drawn(range(plan.num_prompts), range(plan.num_seeds)), drawn(range(count), second)


def before(first: Ranking, plan: Plan, again: Evaluations) -> tuple[int, float, float] | None:
    """(step, low, high) of the rule before; None where it had no say."""
    if plan.num_further < MIN_UNSEEN_BEFORE:
        return None
    unseen = {f"p{number}" for number in range(plan.num_prompts, plan.num_prompts + plan.num_further)}
    steps = (0, *finalists(first))
    second = rank({step: [row for row in again[step] if row.prompt_id in unseen] for step in steps}, METRICS)
    top = min(second.candidates, key=lambda summary: mean(summary.composite))
    for summary in second.candidates:
        gap = difference(summary.composite, top.composite)
        if summary is top or (gap and gap.mean <= (gap.standard_error or 0)):
            found = estimate(summary.composite.values(), 1 - 0.05 / len(second.candidates))
            scale = second.scales["loss"]
            assert found
            return summary.step, (found.low or -math.inf) * scale, (found.high or math.inf) * scale
    raise AssertionError


def simulate(plan: Plan, noise: Noise, curve: Callable, num_runs: int, rng: np.random.Generator) -> list[Tally]:
    """The first evaluation alone, the rule before, both evaluations together."""
    gains = curve(np.arange(1, plan.num_snapshots + 1) / plan.num_snapshots)
    tallies = [Tally([], [], []) for _ in range(3)]
    for _ in range(num_runs):
        evaluations, again = run_of(plan, noise, gains, rng)
        first = rank(evaluations, METRICS)
        scale, found = first.scales["loss"], [None, before(first, plan, again), None]
        if best := first.best:
            found[0] = (best.step, (best.composite.low or 0) * scale, (best.composite.high or 0) * scale)
        confirmed = confirm(first, evaluations, {step: again[step] for step in (0, *finalists(first))})
        if confirmed and confirmed.composite:
            found[2] = (confirmed.step, confirmed.composite.low * scale, confirmed.composite.high * scale)
        for tally, outcome in zip(tallies, found, strict=True):
            if outcome:
                step, low, high = outcome
                truth = gains[step - 1]
                tally.regrets.append((gains.max() - truth) / max(gains.max(), 1e-9))
                tally.covered.append(bool(low <= -truth <= high))
                tally.claimed.append(high < 0)
    return tallies


def lines(num_runs: int) -> Iterator[str]:
    """A table in Markdown."""
    rules = ("first", "before", "both")
    heads = [f"{what}: {rule}" for what in ("regret", "“better”", "coverage") for rule in rules]
    yield f"| plan | noise | truth | {' | '.join(heads)} |"
    yield "|---|---|---|" + "--:|" * len(heads)
    rng = np.random.default_rng(SEED)
    for plan in PLANS:
        for noise in NOISES:
            for name, curve in CURVES.items():
                rows = [tally.cells(gains=name != "no gain") for tally in simulate(plan, noise, curve, num_runs, rng)]
                cells = [row[column] for column in range(3) for row in rows]
                yield f"| {plan.name} | {noise.name} | {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=600, help="simulated runs per line")
    for line in lines(parser.parse_args().runs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
