"""Does `copying` find copies, and is it silent without? `python benchmarks/copying_simulation.py [SEED]` prints the
tables; with `alone` after it, only those of prompts that collapse: of one subject in poses, of garments that the
training set has once, without references too, and of copies that only such prompts tell.

A run is a training set, held-out pictures and ten snapshots of samples, through the metric and the sign as they are.
Nothing is drawn by a model: samples of a run that copies are its training pictures, also changed; those of a healthy
run are further pictures of the same kind, as they are or as soft as a model draws them. The pictures are procedural
garments and crops of photographs installed with scikit-image that do not overlap: a crop of nearly the same part would
be a copy. No constant was chosen on them: the metric's were chosen on garments of other seeds and on crops of six other
photographs. "Before" is the metric that this one replaced, which compared pictures of 32 × 32 pixels in place.

Each change of the pool is compared with the pool once, by the metric's own function, and looked up in each run.
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
from pocket.lessons.garments import CONCEPT_COLOURS, CONCEPT_KIND, TARTAN, Garment, catalogue, concept, render
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.evaluation_result import Sample
from tasks.text_to_image.descriptors.likeness import lightness, likeness
from tasks.text_to_image.evaluation.training_set import TrainingSet
from tasks.text_to_image.metrics import copying
from tasks.text_to_image.metrics.copying import METRIC, copies
from tasks.text_to_image.scoring.features import Features
from tasks.text_to_image.scoring.metric_input import MetricInput
from tests.integration.proofs.test_proofs import photographs
from tests.unit.tasks.text_to_image.metrics.blind import features_of

SEED = 77_000
NUM_RUNS, NUM_SNAPSHOTS, NUM_SEEDS = 20, 10, 2
PROMPTS = {12: 3, 24: 4, 50: 5, 100: 8, 200: 16}
"""Training pictures → held-out ones, all of which are prompts."""
FRESH_PHOTOGRAPHS = ("camera", "cell", "clock", "hubble", "moon", "motorcycle", "text", "tissue")
POOL, FEWER = 240, 124
"""Pictures of a kind; with up to 100 training pictures, the first of them."""
EDGE = 128

Picture = Image.Image
Change = Callable[[Picture], Picture]
DESCRIPTIONS = MetricDescriptions(metrics=(METRIC.describe(),))
OLD_DESCRIPTIONS = MetricDescriptions(metrics=tuple(m for m in OLDER_METRICS.metrics if m.name == "copying"))


class Trained(TrainingSet):
    """Learnt from these pictures."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.pictures = pictures

    def vectors(self, embed: Callable[[Picture], Any], at_most: int = 2000) -> Any:
        """Each picture's, however it is looked at."""
        return np.stack([embed(picture) for picture in self.pictures[:at_most]])


# --- pictures


@cache
def pool(kind: str) -> list[Picture]:
    """Pictures of one kind, all different, none used to choose a constant."""
    return [picture for picture, _ in _captioned(kind)]


@cache
def captions(kind: str) -> dict[int, str]:
    """What a picture of the pool shows, by the picture's identity."""
    return {id(picture): caption for picture, caption in _captioned(kind)}


@cache
def _captioned(kind: str) -> list[tuple[Picture, str]]:
    rng = np.random.default_rng([SEED, len(kind)])
    if kind == "photographs":
        return [_crops()[int(number)] for number in rng.permutation(36 * len(FRESH_PHOTOGRAPHS))[:POOL]]
    known: dict[str, list[Garment]] = {
        "kimonos": concept(POOL, SEED),
        "coats": [garment for garment in catalogue() if garment.kind == "coat"],
        "garments": catalogue(),
    }
    chosen = [known[kind][int(rng.integers(len(known[kind])))] for _ in range(POOL)]
    return [(render(one, SEED + number, EDGE)[0], one.caption()) for number, one in enumerate(chosen)]


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


@cache
def _crops() -> list[tuple[Picture, str]]:
    """36 parts of each photograph, none of which overlaps another."""
    side = 512 // 6
    return [
        (photographs(512)[name].crop((left, top, left + side, top + side)).resize((EDGE, EDGE)), name)
        for name in FRESH_PHOTOGRAPHS
        for top in range(0, 6 * side, side)
        for left in range(0, 6 * side, side)
    ]


def encoded(picture: Picture) -> Picture:
    """As a JPEG of quality 50."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=50)
    return Image.open(file).convert("RGB")


def blurred(share: float) -> Change:
    """By a Gaussian, standard deviation as a share of the width."""
    return lambda picture: picture.filter(ImageFilter.GaussianBlur(picture.width * share))


soft = blurred(1 / 128)
"""As a model with a strong autoencoder draws it: one pixel of blur at 128 pixels."""


def shifted(picture: Picture, share: float = 0.04) -> Picture:
    """To a side that depends on the picture; what comes in repeats the edge."""
    away, (width, height) = round(share * picture.width), picture.size
    across, down = ((away, away // 2), (-away, away // 2), (away // 2, -away), (-away // 2, -away))[_chance(picture, 4)]
    wide = np.pad(np.asarray(picture), ((away, away), (away, away), (0, 0)), mode="edge")
    return Image.fromarray(wide[away + down : away + down + height, away + across : away + across + width])


def cropped(share: float) -> Change:
    """To this share of its edges, from a corner or the middle; as large as before."""

    def crop(picture: Picture) -> Picture:
        left, top = ((0.0, 0.0), (1.0, 0.3), (0.5, 0.5), (0.2, 1.0))[_chance(picture, 4)]
        width, height = picture.size
        x, y = left * (1 - share) * width, top * (1 - share) * height
        return picture.resize(picture.size, Image.Resampling.BICUBIC, box=(x, y, x + share * width, y + share * height))

    return crop


def lit(picture: Picture, seed: int = 0) -> Picture:
    """Soft, and lighter or darker by patches, as a model errs: in the same way for every seed, or in others."""
    patches = np.random.default_rng(_chance(picture, 1 << 30) + seed).normal(0, 25, (12, 12)).astype(np.float32)
    error = np.asarray(Image.fromarray(patches).resize(picture.size, Image.Resampling.BICUBIC))
    wrong = np.asarray(blurred(0.015)(picture), dtype=float) + error[..., None]
    return Image.fromarray(wrong.clip(0, 255).astype(np.uint8))


def lit_otherwise(picture: Picture) -> Picture:
    """By other patches."""
    return lit(picture, 1)


def _chance(picture: Picture, count: int) -> int:
    """The same for the same picture."""
    return int(np.asarray(picture, dtype=np.uint64).sum()) * 2654435761 % (1 << 32) % count


CHANGES: dict[str, Change] = {
    "bit-exact": lambda picture: picture,
    "JPEG, mirrored, darker": lambda picture: ImageEnhance.Brightness(ImageOps.mirror(encoded(picture))).enhance(0.85),
    "blurred, 3 %": blurred(0.03),
    "shifted, 4 %": shifted,
    "cropped to 80 %": cropped(0.8),
    "blurred 2 %, mirrored, shifted, JPEG": lambda picture: encoded(ImageOps.mirror(shifted(blurred(0.02)(picture)))),
    "blurred, wrong light": lit,
}


# --- what is compared, once


class Compared:
    """Likenesses of every change of a pool to the pool, looked up by the pictures' lightness."""

    def __init__(self) -> None:
        self._rows: dict[bytes, int] = {}
        self._columns: dict[bytes, int] = {}
        self._likeness: Any = np.empty((0, 0))

    def learn(self, kind: str, changes: Sequence[Change], count: int) -> None:
        """Compare; forget what was compared before."""
        originals = pool(kind)[:count]
        self.compare([changed(kind, change)[id(picture)] for change in changes for picture in originals], originals)

    def compare(self, samples: Sequence[Picture], originals: Sequence[Picture]) -> None:
        """Each with each; forget what was compared before."""
        pictures, ones = [LIGHTNESS(picture) for picture in originals], [LIGHTNESS(picture) for picture in samples]
        self._likeness = likeness(np.stack(ones), np.stack(pictures))
        self._rows = {one.tobytes(): number for number, one in enumerate(ones)}
        self._columns = {picture.tobytes(): number for number, picture in enumerate(pictures)}

    def __call__(self, ones: Any, others: Any) -> Any:
        """As `likeness`."""
        rows = [self._rows.get(one.tobytes(), -1) for one in ones]
        columns = [self._columns.get(other.tobytes(), -1) for other in others]
        if min(rows) < 0 or min(columns) < 0:
            return likeness(ones, others)
        return self._likeness[np.ix_(rows, columns)]


# --- before: `nn_ratio`


@remembered
def old_layout(picture: Picture) -> Any:
    """Of 64 × 64 pixels."""
    grey = np.asarray(picture.convert("L").resize((64, 64), Image.Resampling.BOX), dtype=float).ravel()
    grey = grey - grey.mean()
    return grey / max(float(np.linalg.norm(grey)), 1e-12)


def old_rows(metric_input: MetricInput, features: Features) -> list[dict[str, float | None]]:
    """Distance to the nearest of m training pictures, and of m held-out ones."""
    assert metric_input.training
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
    count = len(references)
    paired = [references[number // NUM_SEEDS % count] for number in range(len(samples))] if count else []
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
    pictures = pool(kind)[: FEWER if num_trained <= 100 else POOL]
    order = np.random.default_rng([SEED, num_trained, run]).permutation(len(pictures))
    ends = num_trained, num_trained + PROMPTS[num_trained]
    parts = order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :]
    trained, held_out, others = ([pictures[index] for index in part] for part in parts)
    return trained, held_out, others


def copying_runs(
    kind: str, num_trained: int, *changes: Change, old: bool = False, has_references: bool = True
) -> tuple[int, float]:
    """(runs in which the last snapshot, all of whose samples are training pictures, raises the sign; mean share).

    Of several changes, each seed of a prompt has its own.
    """
    raised, shares = 0, []
    for run in range(NUM_RUNS):
        trained, held_out, _ = split(kind, num_trained, run)
        rng = np.random.default_rng([SEED, num_trained, run, 1])
        chosen = np.repeat(rng.integers(len(trained), size=len(held_out)), NUM_SEEDS)
        ways = [changed(kind, changes[number % len(changes)]) for number in range(len(chosen))]
        samples = [alike[id(trained[index])] for alike, index in zip(ways, chosen, strict=True)]
        found, share = outcome(Trained(trained), held_out if has_references else (), samples, features(), old=old)
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
            samples = [alike[id(picture)] for picture in _snapshot(kind, others, len(held_out), rng)]
            raised += outcome(learnt, held_out, samples, known, old=old)[0]
        runs, snapshots = runs + (raised > 0), snapshots + raised
    return runs, snapshots


def _snapshot(kind: str, others: Sequence[Picture], num_prompts: int, rng: np.random.Generator) -> list[Picture]:
    """The pictures of a prompt are of one caption, or of one photograph, where enough are left; each is drawn once.

    Fewer prompts where the pool ends before.
    """
    known = captions(kind)
    left, drawn = list(others), list[Picture]()
    for _ in range(min(num_prompts, len(left) // NUM_SEEDS)):
        first = left.pop(int(rng.integers(len(left))))
        alike = [number for number, one in enumerate(left) if known[id(one)] == known[id(first)]] or range(len(left))
        drawn += [first, left.pop(alike[int(rng.integers(len(alike)))])]
    return drawn


# --- single prompts that collapse


def subject(run: int) -> Garment:
    """Every second one a kimono, which has the strongest pattern."""
    rng = np.random.default_rng([SEED, run, 3])
    if run % 2:
        return catalogue()[int(rng.integers(len(catalogue())))]
    return Garment(CONCEPT_KIND, CONCEPT_COLOURS[int(rng.integers(len(CONCEPT_COLOURS)))], TARTAN)


def tell_subjects(compared: Compared, num_trained: int, num_prompts: int = 4) -> None:
    """One subject in so many poses, and prompts without references; healthy samples are further poses."""
    raised = dict.fromkeys(("as they are", "soft", *COLLAPSED), 0)
    for run in range(NUM_RUNS):
        first = SEED + 10_000 * run + 100 * num_trained
        poses = [render(subject(run), first + number, EDGE)[0] for number in range(num_trained + 40)]
        trained, others = poses[:num_trained], poses[num_trained:]
        softer, rng = [soft(one) for one in others], np.random.default_rng([SEED, num_trained, run, 4])
        copied = int(rng.integers(num_trained))
        changes = {name: [change(trained[copied]) for _ in range(NUM_SEEDS)] for name, change in COLLAPSED.items()}
        compared.compare([*others, *softer, *(one for both in changes.values() for one in both), *trained], trained)
        learnt = Trained(trained)
        for name, able in (("as they are", others), ("soft", softer)):
            draws = [rng.permutation(len(able))[: NUM_SEEDS * num_prompts] for _ in range(NUM_SNAPSHOTS)]
            found = [outcome(learnt, (), [able[at] for at in draw], features(), old=False)[0] for draw in draws]
            raised[name] += any(found)
        for name, both in changes.items():
            samples = [*both, *softer[: NUM_SEEDS * (num_prompts - 1)]]
            raised[name] += outcome(learnt, (), samples, features(), old=False)[0]
    print(f"| one subject, {num_trained} poses | " + " | ".join(map(str, raised.values())) + " |", flush=True)


COLLAPSED: dict[str, Change] = {
    "blurred, 3 %": CHANGES["blurred, 3 %"],
    "blurred 2 %, shifted": lambda picture: shifted(blurred(0.02)(picture)),
    "blurred, wrong light": lit,
}
"""How the pictures of the one prompt that collapses are drawn."""


def tell_alone(kind: str, counts: Sequence[int]) -> None:
    """False alarms with references and without."""
    for has_references in (True, False):
        row: list[int] = []
        for num_trained in counts:
            runs = 0
            for run in range(NUM_RUNS):
                trained, held_out, others = split(kind, num_trained, run)
                rng, learnt = np.random.default_rng([SEED, num_trained, run, 2]), Trained(trained)
                references = held_out if has_references else ()
                draws = [_snapshot(kind, others, len(held_out), rng) for _ in range(NUM_SNAPSHOTS)]
                runs += any(outcome(learnt, references, draw, features(), old=False)[0] for draw in draws)
            row.append(runs)
        told = "with references" if has_references else "without references"
        print(f"| {kind}, {told} | " + " | ".join(map(str, row)) + " |", flush=True)


def tell_single_prompts(compared: Compared) -> None:
    """Tables 5 to 7."""
    print("\n### One subject: runs of 20 that raise `copying`: no copies, no copies, one prompt of four collapses\n")
    print("| | as they are | soft | " + " | ".join(COLLAPSED) + " |\n|" + " --- |" * (3 + len(COLLAPSED)))
    for num_trained in (12, 24):
        tell_subjects(compared, num_trained)
    print(f"\n### No copies, garments that the training set has once: runs of {NUM_RUNS} with a false alarm\n")
    print("| | as they are | soft |\n| --- | --- | --- |")
    for num_trained in (12, 24):
        tell_known_garments(compared, num_trained)
    print(f"\n### Blurred, wrong light: runs of {NUM_RUNS} that raise `copying`\n")
    print("| | alike for every seed, 12/3 | 24/4 | otherwise for each seed, 12/3 | 24/4 |\n|" + " --- |" * 5)
    for kind in ("kimonos", "garments"):
        tell_inexact(compared, kind)
    print(f"\n### No copies: runs of {NUM_RUNS} with a false alarm in any of {NUM_SNAPSHOTS} snapshots\n")
    print("| | " + " | ".join(f"{n}/{PROMPTS[n]}" for n in (12, 24, 100)) + " |\n|" + " --- |" * 4)
    for kind in KINDS:
        compared.learn(kind, [CHANGES["bit-exact"]], FEWER)
        tell_alone(kind, (12, 24, 100))
    print("\n| | 200/16 |\n| --- | --- |")
    for kind in KINDS:
        compared.learn(kind, [CHANGES["bit-exact"]], POOL)
        tell_alone(kind, (200,))


def tell_inexact(compared: Compared, kind: str) -> None:
    """Copies that only prompts that collapse tell, with references and without."""
    compared.learn(kind, [lit, lit_otherwise], FEWER)
    for has_references in (True, False):
        row = [
            copying_runs(kind, n, *changes, has_references=has_references)[0]
            for changes in ((lit,), (lit, lit_otherwise))
            for n in (12, 24)
        ]
        told = "with references" if has_references else "without references"
        print(f"| {kind}, {told} | " + " | ".join(map(str, row)) + " |", flush=True)


def tell_known_garments(compared: Compared, num_trained: int) -> None:
    """Garments of different captions, each trained on once; prompts show some of them in other poses."""
    raised: list[dict[str, int]] = [{"as they are": 0, "soft": 0} for _ in range(2)]
    num_prompts = PROMPTS[num_trained]
    for run in range(NUM_RUNS):
        rng, known = np.random.default_rng([SEED, num_trained, run, 5]), catalogue()
        chosen = [known[index] for index in rng.permutation(len(known))[:num_trained]]
        first = SEED + 10_000 * run + 100 * num_trained
        trained = [render(one, first, EDGE)[0] for one in chosen]
        held_out = [render(one, first + 1, EDGE)[0] for one in chosen[:num_prompts]]
        count = NUM_SEEDS * NUM_SNAPSHOTS
        poses = [[render(one, first + 2 + number, EDGE)[0] for number in range(count)] for one in chosen[:num_prompts]]
        softer = [[soft(pose) for pose in of_one] for of_one in poses]
        every = [pose for both in (poses, softer) for of_one in both for pose in of_one]
        compared.compare([*every, *held_out, *trained], trained)
        for references, counts in zip((held_out, ()), raised, strict=True):
            learnt = Trained(trained)
            for name, able in (("as they are", poses), ("soft", softer)):
                draws = (
                    [pose for of_one in able for pose in of_one[start : start + NUM_SEEDS]]
                    for start in range(0, count, NUM_SEEDS)
                )
                counts[name] += any(outcome(learnt, references, draw, features(), old=False)[0] for draw in draws)
    for told, counts in zip(("with references", "without references"), raised, strict=True):
        print(f"| {num_trained} garments, {told} | " + " | ".join(map(str, counts.values())) + " |", flush=True)


KINDS = ("kimonos", "garments", "photographs", "coats")


def tell_copies(kind: str) -> None:
    """Table 1."""
    print(f"\n### {kind}: every sample is a copy: runs of {NUM_RUNS} that raise `copying` (share flagged)\n")
    print("| change | " + " | ".join(f"{n}/{PROMPTS[n]}" for n in (12, 24, 100)) + " |\n|" + " --- |" * 4)
    for name, change in CHANGES.items():
        found = [copying_runs(kind, n, change) for n in (12, 24, 100)]
        print(f"| {name} | " + " | ".join(f"{n} ({share:.0%})" for n, share in found) + " |", flush=True)


def tell_single(kind: str) -> None:
    """Table 2."""
    found = [one_copy_runs(kind, n) for n in (12, 24, 100)]
    print(
        f"\n{kind}: one bit-exact copy among healthy samples is found, and it alone, at 12, 24, 100: {found}",
        flush=True,
    )


def tell_health(kind: str) -> None:
    """Table 3."""
    print(f"\n### {kind}: no copies: runs of {NUM_RUNS} with a false alarm in any of {NUM_SNAPSHOTS} snapshots\n")
    print("| samples | " + " | ".join(f"{n}/{PROMPTS[n]}" for n in (12, 24, 50, 100)) + " |\n|" + " --- |" * 5)
    for name, change in (("as they are", CHANGES["bit-exact"]), ("soft", soft)):
        found = [healthy_runs(kind, n, change, old=False)[0] for n in (12, 24, 50, 100)]
        print(f"| {name} | " + " | ".join(map(str, found)) + " |", flush=True)


def tell_many(kind: str) -> None:
    """Table 4."""
    now, share = copying_runs(kind, 200, CHANGES["bit-exact"])
    before = [copying_runs(kind, n, CHANGES["bit-exact"], old=True)[0] for n in (12, 24, 100, 200)]
    print(f"\n{kind}, bit-exact, 200/16: {now} ({share:.0%}); before, at 12, 24, 100, 200: {before}", flush=True)


def main() -> None:
    """Print the tables, kind by kind."""
    global SEED
    SEED = int(next((word for word in sys.argv[1:] if word.isdigit()), SEED))
    alone = "alone" in sys.argv[1:]
    compared = Compared()
    copying.likeness = compared
    tell_single_prompts(compared)
    for kind in () if alone else KINDS:
        compared.learn(kind, [*CHANGES.values(), soft], FEWER)
        tell_health(kind)
        tell_single(kind)
        tell_copies(kind)
    for kind in () if alone else KINDS:
        compared.learn(kind, [CHANGES["bit-exact"]], POOL)
        tell_many(kind)


if __name__ == "__main__":
    main()
