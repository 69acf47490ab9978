"""Does `copying` find copies, and is it silent without? `python benchmarks/copying_simulation.py` prints the tables.

A run is a training set, held-out pictures and ten snapshots of samples, through the metric and the sign as they are.
Nothing is drawn by a model: samples of a run that copies are its training pictures, also changed; those of a healthy
run are further pictures of the same kind, as they are or as soft as a model draws them. The pictures are procedural
garments and crops of photographs installed with scikit-image. No constant was chosen on them: the metric's were chosen
on garments of other seeds and on crops of six other photographs. "Before" is the metric that this one replaced.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from scipy.special import gammaln

from evaluator.selection.overfitting import signals
from pocket.garments import Garment, catalogue, concept, render
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records import Sample
from tasks.text_to_image.descriptors.likeness import lightness
from tasks.text_to_image.evaluation.training_set import TrainingSet
from tasks.text_to_image.metrics.copying import METRIC, copies
from tasks.text_to_image.metrics.features import Features
from tasks.text_to_image.metrics.metric_input import MetricInput
from tests.integration.test_proofs import photographs
from tests.unit.tasks.text_to_image.metrics.blind import features_of

SEED = 77_000
NUM_RUNS, NUM_SNAPSHOTS, NUM_SEEDS = 20, 10, 2
PROMPTS = {12: 3, 24: 4, 50: 5, 100: 8, 200: 16}
"""Training pictures → held-out ones, all of which are prompts."""
FRESH_PHOTOGRAPHS = ("camera", "cell", "clock", "hubble", "moon", "motorcycle", "text", "tissue")
POOL = 500
EDGE = 64

Picture = Image.Image
Change = Callable[[Picture], Picture]
DESCRIPTIONS = MetricDescriptions(metrics=(METRIC.describe(),))
OLD_DESCRIPTIONS = MetricDescriptions(metrics=tuple(m for m in OLDER_METRICS.metrics if m.name == "copying"))


class Trained(TrainingSet):
    """Learnt from these pictures."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.pictures = pictures

    def vectors(self, embed: Callable[[Picture], Any]) -> Any:
        """Each picture's, however it is looked at."""
        return np.stack([embed(picture) for picture in self.pictures])


# --- pictures


@cache
def pool(kind: str) -> list[Picture]:
    """Pictures of one kind, all different, none used to choose a constant."""
    rng = np.random.default_rng([SEED, len(kind)])
    if kind == "photographs":
        return [_crop(FRESH_PHOTOGRAPHS[number % len(FRESH_PHOTOGRAPHS)], rng) for number in range(POOL)]
    known: dict[str, list[Garment]] = {
        "kimonos": concept(POOL, SEED),
        "coats": [garment for garment in catalogue() if garment.kind == "coat"],
        "garments": catalogue(),
    }
    chosen = known[kind]
    return [render(chosen[int(rng.integers(len(chosen)))], SEED + number, EDGE)[0] for number in range(POOL)]


@cache
def changed(kind: str, change: Change) -> dict[int, Picture]:
    """Pictures of the pool by the identity of the original."""
    return {id(picture): change(picture) for picture in pool(kind)}


def remembered(look: Callable[[Picture], Any]) -> Callable[[Picture], Any]:
    """Looks at a picture once; pictures stay alive."""
    known: dict[int, tuple[Picture, Any]] = {}

    def once(picture: Picture) -> Any:
        if id(picture) not in known:
            known[id(picture)] = picture, look(picture)
        return known[id(picture)][1]

    return once


def _crop(name: str, rng: np.random.Generator) -> Picture:
    side = int(rng.integers(128, 257))
    left, top = (int(value) for value in rng.integers(0, 512 - side + 1, 2))
    box = (left, top, left + side, top + side)
    return photographs(512)[name].resize((2 * EDGE, 2 * EDGE), Image.Resampling.BICUBIC, box=box)


def encoded(picture: Picture) -> Picture:
    """As a JPEG of quality 50."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=50)
    return Image.open(file).convert("RGB")


def twin(picture: Picture) -> Picture:
    """Mirrored and re-encoded."""
    return encoded(ImageOps.mirror(picture))


def soft(picture: Picture) -> Picture:
    """As a model with a strong autoencoder draws it: half a pixel of blur at 64 pixels."""
    return picture.filter(ImageFilter.GaussianBlur(picture.width / 128))


def cropped(picture: Picture) -> Picture:
    """Without a thirtieth on each side."""
    width, height = picture.size
    return picture.resize(
        picture.size, Image.Resampling.BICUBIC, box=(width / 30, height / 30, width * 29 / 30, height * 29 / 30)
    )


CHANGES: dict[str, Change] = {
    "bit-exact": lambda picture: picture,
    "JPEG 50": encoded,
    "mirrored": ImageOps.mirror,
    "brighter by 15 %": lambda picture: ImageEnhance.Brightness(picture).enhance(1.15),
    "blurred": soft,
    "JPEG, mirrored, darker": lambda picture: ImageEnhance.Brightness(ImageOps.mirror(encoded(picture))).enhance(0.85),
    "a thirtieth cropped off": cropped,
}


# --- before: `nn_ratio`


@remembered
def old_layout(picture: Picture) -> Any:
    """Of 64 × 64 pixels."""
    grey = np.asarray(picture.convert("L").resize((64, 64), Image.Resampling.BOX), dtype=float).ravel()
    grey = grey - grey.mean()
    return grey / max(float(np.linalg.norm(grey)), 1e-12)


def old_rows(metric_input: MetricInput, features: Features) -> list[dict[str, float | None]]:
    """Distance to the nearest of m training pictures, and of m held-out ones."""
    training, _ = metric_input.training.vectors(old_layout), features
    held_out, own = np.unique(
        np.stack([old_layout(one) for one in metric_input.references]), axis=0, return_inverse=True
    )
    rows: list[dict[str, float | None]] = []
    for number, picture in zip(own.ravel(), metric_input.samples, strict=True):
        plain = old_layout(picture)
        both = np.stack([plain, plain.reshape(64, 64)[:, ::-1].ravel()])
        trained, others = (1 - (some @ both.T).max(axis=1) for some in (training, held_out))
        others = np.delete(others, number)
        count = min(len(trained), len(others))
        rows.append({"nn_train": _expected_minimum(trained, count), "nn_real": _expected_minimum(others, count)})
    return rows


def _expected_minimum(values: Any, count: int) -> float:
    ranks = np.arange(len(values) - count + 1)

    def ways(total: Any, chosen: int) -> Any:
        return gammaln(total + 1) - gammaln(chosen + 1) - gammaln(total - chosen + 1)

    log_ways = ways(len(values) - 1 - ranks, count - 1) - ways(np.array(len(values)), count)
    return float(np.exp(log_ways) @ np.sort(values)[: len(ranks)])


# --- runs


LIGHTNESS = remembered(lightness)


def features() -> Features:
    """The lightness alone."""
    return features_of(picture_lightness=LIGHTNESS)


def outcome(
    trained: Trained, references: Sequence[Picture], samples: Sequence[Picture], known: Features, *, old: bool
) -> tuple[bool, float]:
    """(the sign is raised, share of pictures flagged: of the metric before there is none)."""
    ids = [str(number // NUM_SEEDS) for number in range(len(samples))]
    paired = [references[number // NUM_SEEDS % len(references)] for number in range(len(samples))]
    compute, descriptions = (old_rows, OLD_DESCRIPTIONS) if old else (copies, DESCRIPTIONS)
    rows = compute(MetricInput(paired, samples, ids, training=trained), known)
    told = [
        Sample(prompt_id=prompt, seed=number, metrics=row)
        for number, (prompt, row) in enumerate(zip(ids, rows, strict=True))
    ]
    found = signals(told, told, (), descriptions)
    share = 0.0 if old else float(np.mean([row["copy_share"] or 0 for row in rows]))
    return bool(next(sign for sign in found if sign.name == "copying").raised), share


def split(kind: str, num_trained: int, run: int) -> tuple[list[Picture], list[Picture], list[Picture]]:
    """(training pictures, held-out pictures, all others of this kind)."""
    pictures = pool(kind)
    order = np.random.default_rng([SEED, num_trained, run]).permutation(len(pictures))
    ends = num_trained, num_trained + PROMPTS[num_trained]
    parts = order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :]
    trained, held_out, others = ([pictures[index] for index in part] for part in parts)
    return trained, held_out, others


def copying_runs(kind: str, num_trained: int, change: Change, *, old: bool, twins: bool = False) -> tuple[int, float]:
    """(runs in which the last snapshot, all of whose samples are training pictures, raises the sign; mean share)."""
    raised, shares = 0, []
    for run in range(NUM_RUNS):
        trained, held_out, _ = split(kind, num_trained, run)
        rng, alike = np.random.default_rng([SEED, num_trained, run, 1]), changed(kind, change)
        originals = trained[: max(1, num_trained // 4)] if twins else trained
        if twins:
            twins_of = changed(kind, twin)
            trained = [*trained, *(twins_of[id(picture)] for picture in originals)]
        chosen = rng.integers(len(originals), size=len(held_out) * NUM_SEEDS)
        found, share = outcome(
            Trained(trained), held_out, [alike[id(originals[index])] for index in chosen], features(), old=old
        )
        raised += found
        shares.append(share)
    return raised, float(np.mean(shares))


def one_copy_runs(kind: str, num_trained: int) -> int:
    """Runs in which one bit-exact copy among healthy samples is found, and nothing else."""
    found = 0
    for run in range(NUM_RUNS):
        trained, held_out, others = split(kind, num_trained, run)
        samples = [*others[: len(held_out) * NUM_SEEDS - 1], trained[run % len(trained)]]
        share = outcome(Trained(trained), held_out, samples, features(), old=False)[1]
        found += round(share * len(samples)) == 1
    return found


def healthy_runs(kind: str, num_trained: int, change: Change, *, old: bool) -> tuple[int, int]:
    """(runs in which any snapshot raises the sign, snapshots that do)."""
    runs = snapshots = 0
    for run in range(NUM_RUNS):
        trained, held_out, others = split(kind, num_trained, run)
        known, learnt, alike = features(), Trained(trained), changed(kind, change)
        rng = np.random.default_rng([SEED, num_trained, run, 2])
        raised = 0
        for _ in range(NUM_SNAPSHOTS):
            chosen = rng.choice(len(others), len(held_out) * NUM_SEEDS, replace=False)
            raised += outcome(learnt, held_out, [alike[id(others[index])] for index in chosen], known, old=old)[0]
        runs, snapshots = runs + (raised > 0), snapshots + raised
    return runs, snapshots


KINDS = ("kimonos", "coats", "garments", "photographs")


def tell_copies() -> None:
    """Table 1."""
    print(f"\n### Every sample is a copy: runs of {NUM_RUNS} that raise `copying`, before → now (share flagged)\n")
    print(
        "| pictures | change | " + " | ".join(f"{n}/{PROMPTS[n]}" for n in (12, 24, 100, 200)) + " |\n|" + " --- |" * 6
    )
    for kind in KINDS:
        for name, change in CHANGES.items():
            cells = []
            for num_trained in (12, 24, 100, 200):
                before = copying_runs(kind, num_trained, change, old=True)[0] if name == "bit-exact" else None
                now, share = copying_runs(kind, num_trained, change, old=False)
                cells.append((f"{before} → " if before is not None else "") + f"{now} ({share:.0%})")
            print(f"| {kind} | {name} | " + " | ".join(cells) + " |", flush=True)


def tell_twins() -> None:
    """Table 2."""
    print(
        f"\n### A quarter of the training pictures have a mirrored, encoded twin, and are copied: of {NUM_RUNS} runs\n"
    )
    print("| pictures | change | " + " | ".join(f"{n}/{PROMPTS[n]}" for n in (12, 24, 100)) + " |\n|" + " --- |" * 5)
    for kind in KINDS:
        for name in ("bit-exact", "JPEG 50"):
            found = [copying_runs(kind, n, CHANGES[name], old=False, twins=True) for n in (12, 24, 100)]
            print(f"| {kind} | {name} | " + " | ".join(f"{n} ({share:.0%})" for n, share in found) + " |", flush=True)


def tell_single() -> None:
    """Table 3."""
    print(f"\n### One bit-exact copy among healthy samples: runs of {NUM_RUNS} in which it is found, and it alone\n")
    print("| pictures | " + " | ".join(f"{n}/{PROMPTS[n]}" for n in (12, 24, 100)) + " |\n|" + " --- |" * 4)
    for kind in KINDS:
        print(f"| {kind} | " + " | ".join(str(one_copy_runs(kind, n)) for n in (12, 24, 100)) + " |", flush=True)


def tell_health() -> None:
    """Table 4."""
    print(f"\n### No copies: runs of {NUM_RUNS} with a false alarm in any of {NUM_SNAPSHOTS} snapshots, before → now\n")
    print(
        "| pictures | samples | " + " | ".join(f"{n}/{PROMPTS[n]}" for n in (12, 24, 50, 100)) + " |\n|" + " --- |" * 6
    )
    for kind in KINDS:
        for name, change in (("as they are", CHANGES["bit-exact"]), ("soft", soft)):
            cells = []
            for num_trained in (12, 24, 50, 100):
                now = healthy_runs(kind, num_trained, change, old=False)[0]
                before = healthy_runs(kind, num_trained, change, old=True)[0] if change is not soft else None
                cells.append(f"{now}" if before is None else f"{before} → {now}")
            print(f"| {kind} | {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    tell_health()
    tell_single()
    tell_twins()
    tell_copies()
