"""Does the verdict find what is there? Runs whose truth is known, through the evaluator's own functions.

    python benchmarks/verdict_simulation.py [stop] [choice] [proof] [bands] [--trials 100] [--set report]

Every run is made of `Sample` rows as a result holds them, ranked by `rank`, and advised on by `advise_stop` after each
snapshot, beside the rules that were there before. `--set develop` has the curves, noises and seeds that constants were
chosen on, `--set report` those of the published figures: only the straight line, which is the question, is in both.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from evaluator.selection.ranking import Ranking, rank
from evaluator.selection.stop_rule import advise_stop
from evaluator.selection.summary import Summary
from shared.config.schema import StopConfig
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.evaluation_result import Sample
from shared.statistics.paired import difference, estimate, mean

Numbers = NDArray[np.float64]
Curve = Callable[[Numbers], Numbers]
LATE = 0.75
COMPARED = ("visual_loss", "fashion_clip_loss", "color_loss", "clip_t")
METRICS = MetricDescriptions(metrics=OLDER_METRICS.metrics[:4])
EVERY, BASE, UNIT = 100, 0.5, 0.125
"""Steps between snapshots, the base model's loss, and what counts as one unit of it: a quarter of its mean."""


@dataclass(frozen=True)
class Noise:
    """Of one loss, in units of the composite; half of each variance is common to the losses."""

    prompt: float = 0.5
    """Standard deviation over prompts that stays the same at every snapshot: also the base model's picture."""
    gain: float = 0.3
    """Of a prompt's own gain, as a share of the mean gain."""
    wander: float = 0.15
    """Of what changes slowly from snapshot to snapshot, an AR(1) process."""
    memory: float = 0.8
    """Correlation of the wander from one snapshot to the next."""
    picture: float = 0.2
    """Of what is new at every snapshot."""
    snapshot: float = 0.0
    """Of a snapshot's own quality, the same on every prompt: a real difference, part of the truth."""
    uneven: float = 0.0
    """Of the logarithm of a further error of `picture`'s size: at some snapshots prompts then disagree much more."""


@dataclass(frozen=True)
class Case:
    """A kind of run."""

    name: str
    curve: Curve
    num_snapshots: int
    num_prompts: int
    gain: float = 1.0
    """At the top of the curve, in units of the composite."""
    noise: Noise = Noise()


@dataclass(frozen=True)
class Run:
    """One draw of a case."""

    evaluations: Mapping[int, Sequence[Sample]]
    truth: Numbers
    """The gain at each snapshot over all prompts there could be."""


def draw(case: Case, rng: np.random.Generator) -> Run:
    """Rows of step 0 and every snapshot; seeds are fixed, so a prompt's errors stay with it."""
    shares = np.arange(1, case.num_snapshots + 1) / case.num_snapshots
    truth = case.gain * case.curve(shares) + case.noise.snapshot * rng.normal(size=case.num_snapshots)
    base = BASE + 0.2 * UNIT * rng.normal(size=(len(COMPARED), case.num_prompts))
    errors = _errors(case, truth, rng)
    rows: dict[int, list[Sample]] = {0: _rows(base)}
    for number in range(case.num_snapshots):
        change = UNIT * (errors[:, number] - truth[number])
        change[-1] = UNIT * errors[-1, number]  # the guard is left alone
        rows[EVERY * (number + 1)] = _rows(base + change)
    return Run(rows, truth)


def _errors(case: Case, truth: Numbers, rng: np.random.Generator) -> Numbers:
    """(metric, snapshot, prompt), in units of the composite."""
    noise, shape = case.noise, (case.num_snapshots, case.num_prompts)

    def drawn() -> Numbers:
        wander = np.empty(shape)
        wander[0] = rng.normal(size=case.num_prompts)
        for number in range(1, case.num_snapshots):
            fresh = np.sqrt(1 - noise.memory**2) * rng.normal(size=case.num_prompts)
            wander[number] = noise.memory * wander[number - 1] + fresh
        steady = noise.prompt * rng.normal(size=case.num_prompts) - noise.gain * truth[:, None] * rng.normal(
            size=case.num_prompts
        )
        return steady + noise.wander * wander + noise.picture * rng.normal(size=shape)

    common = drawn()
    errors = np.sqrt(0.5) * np.stack([common + drawn() for _ in COMPARED])
    if noise.uneven:
        sizes = noise.picture * np.exp(noise.uneven * rng.normal(size=case.num_snapshots))
        shared = rng.normal(size=shape)
        errors += np.sqrt(0.5) * sizes[:, None] * (shared + rng.normal(size=errors.shape))
    return errors


def _rows(values: Numbers) -> list[Sample]:
    return [
        Sample.model_construct(
            prompt_id=f"p{prompt}", seed=prompt, metrics=dict(zip(COMPARED, map(float, values[:, prompt]), strict=True))
        )
        for prompt in range(values.shape[1])
    ]


def so_far(ranking: Ranking, num_snapshots: int) -> Ranking:
    """What was known after so many snapshots: no later one changes an earlier one's numbers."""
    return replace(ranking, summaries=ranking.summaries[: num_snapshots + 1])


# The rules before


def no_sure_progress(ranking: Ranking, patience: int = 5, min_snapshots: int = 6) -> bool:
    """Stop when so many snapshots have come since the last that was surely better than the one before it."""
    incumbent, num_since = ranking.summaries[0], 0
    for summary in ranking.candidates:
        change = difference(summary.composite, incumbent.composite)
        if change is not None and change.is_below_zero:
            incumbent, num_since = summary, 0
        else:
            num_since += 1
    return len(ranking.candidates) >= min_snapshots and num_since >= patience


def within_one_standard_error(ranking: Ranking) -> int:
    """The earliest that is within one standard error of the best composite."""
    top = min(ranking.candidates, key=_composite)

    def is_close(summary: Summary) -> bool:
        gap = difference(summary.composite, top.composite)
        return summary is top or (gap is not None and gap.mean <= (gap.standard_error or 0))

    return next(summary.step for summary in ranking.candidates if is_close(summary))


def minimum(ranking: Ranking) -> int:
    """The best composite."""
    return min(ranking.candidates, key=_composite).step


def _composite(summary: Summary) -> float:
    return mean(summary.composite)


def coloured_before(ranking: Ranking) -> bool:
    """Whether some interval of a single snapshot excludes zero."""
    known = [values for one in ranking.candidates for values in (one.composite, *one.deltas.values())]
    found = [estimate(values.values()) for values in known]
    return any(one and (one.is_below_zero or one.is_above_zero) for one in found)


# The questions


def tell_stop(cases: Sequence[Case], trials: int, seed: int) -> None:
    """When does the rule stop, and what does that lose?"""
    _head("run", "snapshots × prompts", "stops at, before", "loses, before", "stops at", "later than 75 %", "loses")
    for number, case in enumerate(cases):
        rng = np.random.default_rng([seed, number])
        found = [_stops(case, draw(case, rng)) for _ in range(trials)]
        (end_before, lost_before), (end, lost) = np.array(found).mean(axis=0)
        late = np.mean([now > LATE for _, (now, _) in found])
        size = f"{case.num_snapshots} × {case.num_prompts}"
        row = f"{end_before:.0%} | {lost_before:.1%} | {end:.0%} | {late:.0%} | {lost:.1%}"
        print(f"| {case.name} | {size} | {row} |", flush=True)


def _stops(case: Case, run: Run) -> tuple[tuple[float, float], tuple[float, float]]:
    """Share of the planned steps and of the whole gain lost, by the rule before and by this one."""
    ranking, stop, num_steps = rank(run.evaluations, METRICS), StopConfig(), EVERY * case.num_snapshots
    before = now = case.num_snapshots
    for number in reversed(range(1, case.num_snapshots)):
        known = so_far(ranking, number)
        before = number if no_sure_progress(known) else before
        now = number if advise_stop(known, stop, num_steps).action != "continue" else now
    lost = [float(run.truth.max() - run.truth[:end].max()) / float(run.truth.max()) for end in (before, now)]
    return (before / case.num_snapshots, lost[0]), (now / case.num_snapshots, lost[1])


def tell_choice(cases: Sequence[Case], trials: int, seed: int) -> None:
    """What is lost by shipping the chosen snapshot, as a share of the whole gain?"""
    _head("run", "snapshots × prompts", "one SE", "minimum", "`best`", "`earliest`", "not told apart", "the best is in")
    for number, case in enumerate(cases):
        rng, rows = np.random.default_rng([seed, number]), []
        for _ in range(trials):
            run = draw(case, rng)
            ranking = rank(run.evaluations, METRICS)
            best, earliest = ranking.best, replace(ranking, prefer="earliest").best
            assert best, "there are candidates"
            assert earliest, "there are candidates"
            steps = (within_one_standard_error(ranking), minimum(ranking), best.step, earliest.step)
            regrets = [float(run.truth.max() - run.truth[step // EVERY - 1]) / float(run.truth.max()) for step in steps]
            top = EVERY * (int(run.truth.argmax()) + 1)
            rows.append((*regrets, len(best.indistinguishable) / case.num_snapshots, top in best.indistinguishable))
        cells = np.array(rows, dtype=float).mean(axis=0)
        regrets = " | ".join(f"{cell:.3f}" for cell in cells[:4])
        size = f"{case.num_snapshots} × {case.num_prompts}"
        print(f"| {case.name} | {size} | {regrets} | {cells[4]:.0%} | {cells[5]:.0%} |", flush=True)


def tell_proof(cases: Sequence[Case], trials: int, seed: int) -> None:
    """What would choosing among those that are surely better than the base model lose, where there are any?"""
    _head("run", "snapshots × prompts", "`best`", "the best of those sure", "sure and less than 0.1 behind", "is sure")
    for number, case in enumerate(cases):
        rng, rows = np.random.default_rng([seed, number]), []
        for _ in range(trials):
            run = draw(case, rng)
            ranking = rank(run.evaluations, METRICS)
            assert ranking.best, "there are candidates"
            top, level = ranking.best.step, ranking.trend.level
            near = [step for step in ranking.proven if level(step) - level(top) < ranking.min_difference]
            steps = (top, (*ranking.proven, top)[0], (*near, top)[0])
            regrets = [float(run.truth.max() - run.truth[step // EVERY - 1]) / float(run.truth.max()) for step in steps]
            rows.append((*regrets, top in ranking.proven, bool(ranking.proven)))
        cells = np.array(rows, dtype=float).mean(axis=0)
        regrets = " | ".join(f"{cell:.3f}" for cell in cells[:3])
        size = f"{case.num_snapshots} × {case.num_prompts}"
        print(f"| {case.name} | {size} | {regrets} | {cells[3]:.0%}, some {cells[4]:.0%} |", flush=True)


def tell_bands(cases: Sequence[Case], trials: int, seed: int) -> None:
    """The base model against itself: in how many runs does some point have a colour?"""
    _head("snapshots × prompts", "errors", "before", "now")
    for number, case in enumerate(cases):
        rng, rows = np.random.default_rng([seed, number]), []
        for _ in range(trials):
            ranking = rank(draw(case, rng).evaluations, METRICS)
            rows.append((coloured_before(ranking), any(ranking.sure(summary) for summary in ranking.summaries)))
        before, now = np.array(rows, dtype=float).mean(axis=0)
        print(f"| {case.num_snapshots} × {case.num_prompts} | {case.name} | {before:.0%} | {now:.1%} |", flush=True)


def _head(*names: str) -> None:
    print(f"\n| {' | '.join(names)} |\n|{' --- |' * len(names)}")


# The runs


def line(share: Numbers) -> Numbers:
    """To the very last step."""
    return share


Set = Literal["develop", "report"]
CURVES: dict[Set, dict[str, Curve]] = {
    "develop": {
        "plateau": lambda share: 1 - np.exp(-share / 0.1),
        "rising": lambda share: (1 - np.exp(-share / 0.5)) / (1 - np.exp(-2)),
        "overtrained": lambda share: np.where(
            share < 0.4, 1 - (1 - share / 0.4) ** 2, 1 - 0.8 * (np.maximum(share - 0.4, 0) / 0.6) ** 1.5
        ),
        "late": lambda share: 1 / (1 + np.exp(-(share - 0.45) / 0.07)),
        "quick, then a line": lambda share: np.minimum(share / 0.3 * 0.6, 0.6 + 0.4 * (share - 0.3) / 0.7),
    },
    "report": {
        "plateau": lambda share: 1 - np.maximum(1 - share / 0.35, 0) ** 2,
        "rising": lambda share: share**0.6,
        "overtrained": lambda share: share / 0.45 * np.exp(1 - share / 0.45),
        "late": lambda share: 0.5 - 0.5 * np.cos(np.pi * np.clip((share - 0.2) / 0.5, 0, 1)),
        "quick, then a line": lambda share: np.minimum(share / 0.2 * 0.55, 0.55 + 0.45 * (share - 0.2) / 0.8),
    },
}
USUAL: dict[Set, Noise] = {
    "develop": Noise(),
    "report": Noise(prompt=0.6, gain=0.4, wander=0.18, memory=0.7, picture=0.25),
}
NOISY: dict[Set, Noise] = {
    "develop": Noise(picture=0.45, wander=0.3),
    "report": Noise(prompt=0.6, gain=0.4, wander=0.25, memory=0.85, picture=0.5),
}
GAINS: dict[Set, tuple[float, float]] = {"develop": (1.0, 0.3), "report": (1.2, 0.35)}
"""Usual and small."""
SEEDS: dict[Set, int] = {"develop": 5, "report": 20261127}


def stop_cases(which: Set) -> list[Case]:
    """Straight lines, then runs that stop gaining."""
    gain, usual, noisy, curves = GAINS[which][0], USUAL[which], NOISY[which], CURVES[which]
    cases = [Case("line", line, size, prompts, gain, usual) for size, prompts in ((10, 3), (20, 4), (20, 16), (50, 16))]
    cases += [Case("line, noisy", line, size, 16, gain, noisy) for size in (20, 50)]
    cases += [Case("plateau", curves["plateau"], *size, gain, usual) for size in ((20, 4), (20, 16), (50, 16))]
    cases += [Case("plateau, noisy", curves["plateau"], 20, 16, gain, noisy)]
    others = ("rising", "late", "overtrained", "quick, then a line")
    return [*cases, *(Case(name, curves[name], 20, 16, gain, usual) for name in others)]


def choice_cases(which: Set) -> list[Case]:
    """Few noisy prompts, many usual ones, a small gain, and snapshots that differ by themselves."""
    (gain, small), usual, noisy = GAINS[which], USUAL[which], NOISY[which]
    cases = []
    for name in ("plateau", "rising", "overtrained"):
        curve = CURVES[which][name]
        cases += [Case(f"{name}, noisy", curve, 20, 4, gain, noisy), Case(name, curve, 20, 16, gain, usual)]
        cases += [Case(f"{name}, small gain", curve, 20, 16, small, usual)]
    own = replace(usual, snapshot=0.1)
    return [*cases, Case("rising, snapshots differ", CURVES[which]["rising"], 20, 16, gain, own)]


def proof_cases(which: Set) -> list[Case]:
    """Also with so few prompts, and snapshots at which prompts disagree so much more, that the best is often unsure."""
    (gain, small), usual, noisy = GAINS[which], USUAL[which], NOISY[which]
    uneven, cases = replace(usual, uneven=1.0), []
    for name in ("plateau", "rising", "overtrained"):
        curve = CURVES[which][name]
        cases += [Case(f"{name}, noisy", curve, 20, prompts, gain, noisy) for prompts in (3, 4)]
        cases += [Case(name, curve, size, 3, gain, usual) for size in (4, 20)]
        cases += [Case(f"{name}, uneven", curve, size, prompts, gain, uneven) for size, prompts in ((4, 3), (20, 8))]
        cases += [Case(f"{name}, small gain", curve, 20, prompts, small, usual) for prompts in (8, 16)]
    return cases


def band_cases(which: Set) -> list[Case]:
    """Nothing to find."""
    fresh = Noise(prompt=0, gain=0, wander=0, picture=0.5)
    sizes = [(size, prompts) for prompts in (4, 16) for size in (5, 10, 20)]
    errors = {"stay with a prompt": USUAL[which], "new at each snapshot": fresh}
    return [Case(name, line, *size, 0.0, noise) for name, noise in errors.items() for size in sizes]


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", nargs="*", choices=("stop", "choice", "proof", "bands"))
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--set", choices=("develop", "report"), default="report", dest="which")
    options = parser.parse_args()
    asked = options.questions or ("stop", "choice", "proof", "bands")
    ways = {
        "stop": (tell_stop, stop_cases),
        "choice": (tell_choice, choice_cases),
        "proof": (tell_proof, proof_cases),
        "bands": (tell_bands, band_cases),
    }
    for question in asked:
        tell, cases = ways[question]
        tell(cases(options.which), options.trials, SEEDS[options.which])


if __name__ == "__main__":
    main()
