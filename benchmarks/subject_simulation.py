"""Does `subject_loss` order what was learnt, and is a copy no gain? `python benchmarks/subject_simulation.py`.

A run is a training set and samples, through the metric as it is and the embedded visual encoder. Nothing is drawn by a
model. Learnt: further pictures of the subject. Undertrained: each sample a mixture, pixel by pixel, of one of them and
of a picture of another subject, or half of the samples learnt and half not. Base: pictures of other subjects. Copies:
training pictures. Subjects are kimonos among garments of the catalogue, and parts of one photograph that do not overlap
among parts of the other photographs installed with scikit-image, as in `copying_simulation.py`. No constant was chosen
on them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from benchmarks.copying_simulation import EDGE, FRESH_PHOTOGRAPHS, Trained, remembered
from pocket.lessons.garments import catalogue, concept, render
from tasks.text_to_image.evaluation.scorer import load_scorer
from tasks.text_to_image.metrics.losses.subject import METRIC
from tasks.text_to_image.scoring.features import Features, visual_embedding
from tasks.text_to_image.scoring.metric_input import MetricInput
from tests.integration.proofs.test_proofs import photographs

SEED = 515_000
NUM_RUNS, NUM_SAMPLES = 20, 6
SIZES = (2, 4, 12)
"""Training pictures."""
NUM_GARMENTS = 30
"""Of kimonos, and of others."""
Pictures = Sequence[Image.Image]


class Learnt(Trained):
    """Learnt from these pictures, of which there are fewer than are looked at."""

    def vectors(self, embed: Callable[[Image.Image], Any], at_most: int = 0) -> Any:
        """Each picture's."""
        return super().vectors(embed)


@cache
def subjects(kind: str) -> dict[str, Pictures]:
    """Subject → its pictures; of garments the kimonos are one, the others another."""
    if kind == "kimonos":
        rng = np.random.default_rng(SEED)
        others = [catalogue()[int(number)] for number in rng.permutation(len(catalogue()))[:NUM_GARMENTS]]
        known = {"kimonos": concept(NUM_GARMENTS, SEED), "others": others}
        return {
            name: [render(one, SEED + number, EDGE)[0] for number, one in enumerate(some)]
            for name, some in known.items()
        }
    side = 512 // 6
    places = [(left, top) for top in range(0, 6 * side, side) for left in range(0, 6 * side, side)]
    shown = {name: photographs(512)[name] for name in FRESH_PHOTOGRAPHS}
    return {
        name: [one.crop((left, top, left + side, top + side)).resize((EDGE, EDGE)) for left, top in places]
        for name, one in shown.items()
    }


@cache
def drawn(kind: str, run: int) -> tuple[Pictures, dict[str, Pictures]]:
    """(pictures to train on, as many as are wanted; samples of each state)."""
    rng, names = np.random.default_rng([SEED, run]), list(subjects(kind))
    name = names[0] if kind == "kimonos" else names[run % len(names)]
    of_others = [one for other, some in subjects(kind).items() if other != name for one in some]
    shuffled = [subjects(kind)[name][int(number)] for number in rng.permutation(len(subjects(kind)[name]))]
    base = [of_others[int(number)] for number in rng.permutation(len(of_others))[:NUM_SAMPLES]]
    new, half = shuffled[:NUM_SAMPLES], NUM_SAMPLES // 2
    return shuffled[NUM_SAMPLES:], {
        "base": base,
        "mixed": [Image.blend(one, other, 0.5) for one, other in zip(base, new, strict=True)],
        "half of them": [*base[:half], *new[half:]],
        "learnt": new,
    }


def mean_loss(samples: Pictures, training: Pictures, features: Features) -> float:
    """Of all samples."""
    rows = METRIC.compute(MetricInput((), samples, [""] * len(samples), training=Learnt(training)), features)
    return float(np.mean([loss for row in rows if (loss := row["subject_loss"]) is not None]))


def tell(kind: str, size: int, features: Features) -> None:
    """One row."""
    found: list[dict[str, float]] = []
    for run in range(NUM_RUNS):
        training, samples = drawn(kind, run)
        training = training[:size]
        copies = {"copies": [training[number % size] for number in range(NUM_SAMPLES)], "one copy": training[:1]}
        shown = {**samples, **copies}
        found.append({state: mean_loss(pictures, training, features) for state, pictures in shown.items()})

    def rate(worse: str, better: str) -> str:
        return str(sum(losses[worse] > losses[better] for losses in found))

    def gain(state: str) -> str:
        shares = [(one["base"] - one[state]) / (one["base"] - one["learnt"]) for one in found]
        return f"{np.median(shares):.2f}"

    means = [f"{np.mean([losses[state] for losses in found]):.3f}" for state in found[0]]
    states = ("base", "mixed"), ("mixed", "learnt"), ("base", "half of them"), ("half of them", "learnt")
    cells = (kind, str(size), *means, *(rate(*pair) for pair in states), gain("copies"), rate("learnt", "copies"))
    print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Print the table."""
    features = load_scorer("pocket", metrics=(METRIC.name,)).features
    memo = features[visual_embedding]
    memo.extract = remembered(memo.extract)
    columns = (
        *("subject", "training pictures", "base", "mixed", "half of them", "learnt", "copies", "one copy"),
        *("base > mixed", "mixed > learnt", "base > half", "half > learnt", "gain of copies", "learnt > copies"),
    )
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns), flush=True)
    for kind in ("kimonos", "photographs"):
        for size in SIZES:
            tell(kind, size, features)


if __name__ == "__main__":
    main()
