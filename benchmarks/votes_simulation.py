"""Do votes find the snapshot that people prefer? Simulated voters with a hidden order and noise.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/votes_simulation.py --trials 40 --seed 1000 [--at-random]

A trial has seven snapshots and the base model. What the eye prefers is a smooth curve of the training with a peak, plus
what is each snapshot's own. A voter prefers the better of two pictures in 80 % of the votes that prefer one, on average
over pairs of snapshots; a prompt has a taste of its own, and what is too alike for the eye is `equal`. The pairs are
chosen as the page chooses them. The metrics see the same as the eye, with the noise of few prompts (`right`); something
unrelated (`unrelated`); the opposite (`wrong`); or nothing (`none`).
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from dashboard.story.vote.next_pair import Pair, next_pairs
from shared.run_folder.records.contest import Contest
from shared.run_folder.records.vote import Vote, VoteAnswer
from shared.run_folder.votes import Votes
from shared.statistics.preference import Posterior, comparisons

STEPS = (0, 300, 400, 500, 600, 700, 800, 900)
PROMPTS, SEEDS = 8, 2
DRAWN = {step: {(f"p{prompt}", seed) for prompt in range(PROMPTS) for seed in range(SEEDS)} for step in STEPS}
CONSISTENCY, EQUAL = 0.8, 0.15
TASTE = 0.5
"""Of a prompt, in spreads of the strengths: standard deviation of what it adds to a snapshot's strength."""
NUM_VOTES = (0, 10, 20, 40)
MOVES_FROM = 0.9
NEAR = 0.25
"""Spreads below the best: as good as the best for any purpose."""
CASES = ("right", "unrelated", "wrong", "none")


@dataclass
class Person:
    """What one person prefers, and how surely."""

    random: np.random.Generator
    strengths: dict[int, float]
    scale: float
    threshold: float
    tastes: dict[tuple[str, int], float]

    def answer(self, pair: Pair) -> VoteAnswer:
        """As the prompt's taste and chance have it."""
        left, right = (self.strengths[step] + self.tastes[pair.prompt_id, step] for step in (pair.left, pair.right))
        seen = left - right + self.random.logistic(scale=self.scale)
        if abs(seen) < self.threshold:
            return "equal"
        return "left" if seen > 0 else "right"


def curve(random: np.random.Generator) -> np.ndarray:
    """Strengths of the snapshots, spread 1: a peak somewhere, and what is each one's own."""
    places = np.linspace(0, 1, len(STEPS) - 1)
    smooth = -((places - random.uniform(0, 1)) ** 2) * random.uniform(1, 3)
    own = random.normal(0, 0.35 * smooth.std(), len(places))
    values = smooth + own
    return (values - values.mean()) / values.std()


def person(random: np.random.Generator, values: np.ndarray) -> Person:
    """One who is right in 80 % of the decided votes, on average over pairs of snapshots."""
    strengths = {0: float(values.min()) - 2.0, **dict(zip(STEPS[1:], map(float, values), strict=True))}
    gaps = np.array([abs(one - other) for one, other in itertools.combinations(values, 2)])
    tastes = random.normal(0, TASTE * np.sqrt(2), 4000)
    low, high = 0.01, 20.0
    for _ in range(40):
        scale = (low + high) / 2
        threshold = EQUAL * 2 * scale
        noisy = gaps[:, None] + tastes
        right = expit((noisy - threshold) / scale).mean()
        wrong = expit((-noisy - threshold) / scale).mean()
        low, high = (scale, high) if right / (right + wrong) > CONSISTENCY else (low, scale)
    prompts = [f"p{prompt}" for prompt in range(PROMPTS)]
    own = {(prompt, step): float(random.normal(0, TASTE)) for prompt in prompts for step in STEPS}
    return Person(random, strengths, scale, EQUAL * 2 * scale, own)


def contest(random: np.random.Generator, case: str, values: np.ndarray) -> Contest:
    """What the metrics say. Their unit differs from the eye's: 0.2 of the composite is one spread of strengths."""
    spread, error = 0.2, 0.1
    seen = {"right": values, "unrelated": curve(random), "wrong": -values, "none": np.zeros_like(values)}[case]
    common, own = random.normal(0, error), random.normal(0, error / 2, len(values))
    means = 1.0 + spread * seen + common + own if case != "none" else seen
    covariance = np.full((len(STEPS), len(STEPS)), error**2) + np.eye(len(STEPS)) * (error / 2) ** 2
    covariance[0], covariance[:, 0] = 0.0, 0.0
    if case == "none":
        covariance = np.eye(len(STEPS))
    unit = max(0.1, float(means.std())) if case != "none" else 1.0
    rows = tuple(tuple(map(float, row)) for row in covariance)
    return Contest(steps=STEPS, means=(0.0, *map(float, means)), covariance=rows, unit=unit)


def any_pair(random: np.random.Generator, number: int) -> Pair:
    """Any two snapshots, any prompt."""
    left, right = random.choice(STEPS, 2, replace=False)
    return Pair(f"pair-{number}", f"p{random.integers(PROMPTS)}", int(random.integers(SEEDS)), int(left), int(right))


@dataclass(frozen=True)
class Found:
    """What is known after some votes."""

    num_votes: int
    is_best: bool
    lost: float
    """Strength that the favourite lacks, in spreads."""
    is_covered: bool
    """The best is among those that hold 95 % of the probability."""
    moved: bool
    moved_well: bool
    before_lost: float


def trial(seed: int, case: str, *, at_random: bool = False) -> Iterator[Found]:
    """One person, up to 40 votes. at_random: on any two snapshots."""
    random = np.random.default_rng(seed)
    values = curve(random)
    one = person(random, values)
    competing = contest(random, case, values)
    best = max(STEPS[1:], key=lambda step: one.strengths[step])
    before = max(STEPS[1:], key=lambda step: competing.means[STEPS.index(step)])
    given: list[Vote] = []
    for number in range(max(NUM_VOTES) + 1):
        votes = Votes(tuple(given), frozenset(vote.id for vote in given))
        if number in NUM_VOTES:
            posterior = Posterior(competing, comparisons(given, STEPS))
            chances = posterior.chances(STEPS[1:])
            favourite = max(chances, key=lambda step: chances[step])
            ranked, held = sorted(chances, key=lambda step: -chances[step]), 0.0
            kept: set[int] = set()
            for step in ranked:
                kept.add(step)
                held += chances[step]
                if held >= 0.95:
                    break
            moved = favourite != before and posterior.chance_over(favourite, before) >= MOVES_FROM and number > 0
            yield Found(
                number,
                favourite == best,
                one.strengths[best] - one.strengths[favourite],
                best in kept,
                moved,
                moved and one.strengths[favourite] > one.strengths[before],
                one.strengths[best] - one.strengths[before],
            )
        if number == max(NUM_VOTES):
            break
        pair = any_pair(random, number) if at_random else next_pairs(competing, votes, "voter", DRAWN)[0]
        given.append(
            Vote(
                id=pair.id, run_id="run", voter="voter", prompt_id=pair.prompt_id, seed=pair.seed, left=pair.left,
                right=pair.right, answer=one.answer(pair),
            )
        )  # fmt: skip


def main() -> None:
    """One table for every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--at-random", action="store_true", help="pairs at random, not those that tell most")
    arguments = parser.parse_args()
    print("| metrics | votes | best named | as good | spreads lost | within 95 % | moved | to a better one |")

    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for case in arguments.cases.split(","):
        seeds = range(arguments.seed, arguments.seed + arguments.trials)
        found = [one for seed in seeds for one in trial(seed, case, at_random=arguments.at_random)]
        for number in NUM_VOTES:
            rows = [one for one in found if one.num_votes == number]
            named, lost, covered, moved = (
                float(np.mean([getattr(one, name) for one in rows]))
                for name in ("is_best", "lost", "is_covered", "moved")
            )
            near = float(np.mean([one.lost < NEAR for one in rows]))
            well = sum(one.moved_well for one in rows) / max(1, sum(one.moved for one in rows))
            print(
                f"| {case} | {number} | {named:.0%} | {near:.0%} | {lost:.2f} | {covered:.0%} | {moved:.0%} "
                f"| {well:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
