"""Do the numbers mean something? `python benchmarks/meaning.py [RUN …]` prints the tables of a report.

Everything is drawn or rendered here, from the embedded models and the pictures installed with scikit-image; runs given
are scored again from their own pictures. "Original" are the formulas this project began with (`metrics/legacy.py`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from PIL import Image, ImageOps

from evaluator.selection import ranking, stop_rule
from pocket.lessons.garments import Garment, render, split_catalogue
from pocket.lessons.patterns import PATTERNS
from shared.config.schema import ModelConfig
from shared.data import dataset
from shared.data.pictures import open_picture
from shared.files.digests import Digests
from shared.files.publication import read_manifest
from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.run_dir import RunDir, open_run, steps_in
from shared.statistics.paired import estimate
from tasks.text_to_image.descriptors.likeness import lightness, likeness
from tasks.text_to_image.evaluation.anchors import anchors, matching, mismatched
from tasks.text_to_image.evaluation.scorer import Scorer, load_scorer
from tasks.text_to_image.evaluation.training_set import TrainingSet
from tasks.text_to_image.families import loading
from tasks.text_to_image.metrics import descriptions, pairwise_metrics
from tasks.text_to_image.scoring.features import visual_embedding
from tasks.text_to_image.scoring.metric_input import MetricInput, Row
from tests.integration.proofs.test_proofs import (
    CHROMATIC,
    augmented,
    before_a_darker_wall,
    faded,
    fried,
    photographs,
    recoloured,
    scrambled,
    shifted,
    variants,
)

ROOT = Path(__file__).resolve().parents[1]
SEED = 2_026
METRICS = (*pairwise_metrics(), "legacy")
LOSSES = [column.name for column in descriptions().losses]
NUM_PROMPTS, NUM_SEEDS = 12, 10
NUM_TRIALS = 400


# --- pairs


def costs(scorer: Scorer, column: str, pairs: Sequence[tuple[Image.Image, Image.Image]]) -> np.ndarray:
    """The column of each (reference, sample)."""
    references, samples = zip(*pairs, strict=True)
    rows = scorer.score(MetricInput(references, samples, [""] * len(samples))).rows
    return np.array([row[column] for row in rows], dtype=float)


def garments(seed: int) -> list[tuple[bool, Image.Image, np.ndarray]]:
    """(has a hue, picture, exact mask) of every combination the pocket models have never seen."""
    return [(g.colour in CHROMATIC, *render(g, seed + n)) for n, g in enumerate(split_catalogue()[1])]


def tell_colour(scorer: Scorer) -> None:
    """Table 1."""
    print("\n### Colour: a garment's hue against a wall's shade\n\n| | hue | wall | hue ÷ wall, smallest | median |")
    print("| --- | --- | --- | --- | --- |")
    shown = [(picture, mask) for has_hue, picture, mask in garments(SEED) if has_hue]
    for name, column in (("`color_de00`", "color_de00"), ("original", "legacy_color_loss")):
        hue = costs(scorer, column, [(picture, recoloured(picture, mask)) for picture, mask in shown])
        wall = costs(scorer, column, [(picture, before_a_darker_wall(picture, mask)) for picture, mask in shown])
        ratio = hue / np.maximum(wall, 1e-9)
        print(f"| {name} | {hue.mean():.3f} | {wall.mean():.3f} | {ratio.min():.2f} | {np.median(ratio):.2f} |")
    print(f"\n{len(shown)} garments; hue turned by 120°; wall darkened by 10 of 255 levels.")


def tell_visual(scorer: Scorer) -> None:
    """Table 2."""
    print("\n### Visual: which changes are near, which far\n")
    print("| pictures | | shift | mirror | flat | blur | another | in order |\n|" + " --- |" * 8)
    groups = {
        "photographs, 256 px": list(photographs(256).values()),
        "photographs, 512 px": list(photographs(512).values()),
        "garments": [picture for _, picture, _ in garments(SEED)],
    }
    for name, pictures in groups.items():
        for whose, column in (("`visual_loss`", "visual_loss"), ("original", "legacy_visual_loss")):
            print(f"| {name} ({len(pictures)}) | {whose} | {_visual_row(scorer, column, pictures)} |")


def _visual_row(scorer: Scorer, column: str, pictures: list[Image.Image]) -> str:
    table = []
    for number, picture in enumerate(pictures):
        near, far = variants(picture)
        others = [other for index, other in enumerate(pictures) if index != number]
        found = costs(scorer, column, [(picture, sample) for sample in (*near, *far, *others)])
        shift, mirror, flat, blur = found[:2].max(), found[2], found[3:5].min(), found[5]
        table.append((shift, mirror, flat, blur, found[6:].min()))
    in_order = sum(max(row[:2]) < min(row[2:]) for row in table)
    return " | ".join(f"{value:.3f}" for value in np.mean(table, axis=0)) + f" | {in_order} of {len(pictures)}"


def tell_hard_negatives() -> None:
    """Tables 3 and 4, through `run.py score`."""
    shown = [(g, *render(g, SEED + n)) for n, g in enumerate(split_catalogue()[1]) if g.colour in CHROMATIC]
    others = [Garment(g.kind, g.colour, PATTERNS[(PATTERNS.index(g.pattern) + 1) % len(PATTERNS)]) for g, _, _ in shown]
    pictures = [picture for _, picture, _ in shown]
    changes = {
        "again": [render(g, SEED + 500 + n)[0] for n, (g, _, _) in enumerate(shown)],
        "other colour": [recoloured(picture, mask) for _, picture, mask in shown],
        "other pattern": [render(g, SEED + 500 + n)[0] for n, g in enumerate(others)],
    }
    _tell_orders("garments", pictures, changes)
    pictures = list(photographs(256).values())
    _tell_orders("photographs, 256 px", pictures, {"another": [*pictures[1:], pictures[0]]})


def _tell_orders(name: str, pictures: list[Image.Image], further: dict[str, list[Image.Image]]) -> None:
    """Mean cost of each change, for how many pictures it costs more than a shift and a mirror image, and its signs."""
    near = {"shift": [shifted(picture, 16) for picture in pictures], "mirror": [*map(ImageOps.mirror, pictures)]}
    wrong = {"faded": [*map(faded, pictures)], "fried": [*map(fried, pictures)]}
    changes = {**near, **further, **wrong, "scrambled": [*map(scrambled, pictures)]}
    print(f"\n### Hard negatives: {name} ({len(pictures)})\n\n| | {' | '.join(changes)} |")
    print("|" + " --- |" * (len(changes) + 1))
    reports = {what: scored(pictures, drawn) for what, drawn in changes.items()}
    for column in ("visual_loss", "fashion_clip_loss", "color_de00"):
        found = {what: np.array([row[column] for row in rows], dtype=float) for what, (rows, _) in reports.items()}
        nearest = np.fmax(found["shift"], found["mirror"])
        cells = (
            "missing"
            if np.isnan(values).all()
            else f"{np.nanmean(values):.3f}" + ("" if what in near else f" ({(values > nearest).sum()})")
            for what, values in found.items()
        )
        print(f"| `{column}` | {' | '.join(cells)} |")
    print(f"| signs | {' | '.join(', '.join(signs) or '–' for _, signs in reports.values())} |", flush=True)


def scored(references: list[Image.Image], samples: list[Image.Image]) -> tuple[list[Row], list[str]]:
    """What `run.py score` says: the row of each pair, in order, and the signs that are raised."""
    with tempfile.TemporaryDirectory() as place:
        for side, pictures in (("references", references), ("samples", samples)):
            (Path(place) / side).mkdir()
            for number, picture in enumerate(pictures):
                picture.save(Path(place) / side / f"{number:03d}.png")
        folders = [str(Path(place) / side) for side in ("references", "samples")]
        command = [sys.executable, str(ROOT / "run.py"), "score", *folders, "--fashion-clip", "pocket", "--json"]
        report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return [row for _, row in sorted(report["pairs"].items())], [
        sign["name"] for sign in report["signs"] if sign["raised"]
    ]


def tell_matching(scorer: Scorer) -> None:
    """Table 3."""
    print("\n### Matched against shuffled pairs: area under the curve\n")
    print("| pictures | " + " | ".join(f"`{loss}`" for loss in LOSSES) + " |\n|" + " --- |" * 4)
    groups = {"garments": [p for _, p, _ in garments(SEED)], "photographs, 256 px": list(photographs(256).values())}
    for name, pictures in groups.items():
        rng = np.random.default_rng(SEED)
        samples = [augmented(picture, rng) for picture in pictures]
        shuffled = mismatched(pictures, samples, scorer)
        pairs = list(zip(pictures, samples, strict=True))
        cells = [
            f"{matching(list(costs(scorer, loss, pairs)), shuffled[loss]):.3f}" if loss in shuffled else "missing"
            for loss in LOSSES
        ]
        print(f"| {name} ({len(pictures)}) | " + " | ".join(cells) + " |")
    print("\nEach sample is its reference cropped by 5 to 20 %, mirrored or not, exposed by ± 25 %.")


# --- the same model against itself


@dataclass(frozen=True)
class Pool:
    """Pictures of one model, several to a prompt: any of them may be called step 0's."""

    rows: list[list[Row]]
    """By prompt and picture."""
    vectors: list[np.ndarray]
    """For each prompt: its pictures as the perceptual descriptor sees them, (pictures, D)."""


def draw_pool(num_prompts: int = NUM_PROMPTS, num_seeds: int = NUM_SEEDS, num_steps: int = 10) -> Pool:
    """The embedded base model draws garments that it has never seen; every picture has a seed of its own."""
    pipeline, scorer = (
        loading.load_model(ModelConfig(), "fp32").pipeline,
        load_scorer("pocket", metrics=pairwise_metrics()),
    )
    pipeline.set_progress_bar_config(disable=True)
    rows, vectors = [], []
    for number, garment in enumerate(split_catalogue()[1][:num_prompts]):
        seeds = range(SEED + number * num_seeds, SEED + (number + 1) * num_seeds)
        samples = pipeline(
            [garment.caption()] * num_seeds,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            num_inference_steps=num_steps,
            guidance_scale=3.0,
            height=128,
            width=128,
        ).images
        reference = render(garment, SEED + number)[0]
        rows.append(scorer.score(MetricInput([reference] * num_seeds, samples, [garment.caption()] * num_seeds)).rows)
        vectors.append(np.stack(scorer.features[visual_embedding](samples)).astype(float))
    return Pool(rows, vectors)


def resampled(pool: Pool, num_snapshots: int, rng: np.random.Generator) -> ranking.Ranking:
    """Eight prompts, two pictures each for step 0 and for every snapshot, shared out by chance."""
    evaluations: dict[int, list[Sample]] = {step: [] for step in range(num_snapshots + 1)}
    for prompt in rng.choice(len(pool.rows), 8, replace=False):
        dealt = rng.permutation(len(pool.rows[prompt]))[: 2 * (num_snapshots + 1)].reshape(num_snapshots + 1, 2)
        for step, (one, other) in enumerate(dealt):
            distance = float(1 - pool.vectors[prompt][one] @ pool.vectors[prompt][other])
            for seed, picture in enumerate((one, other)):
                metrics = {**pool.rows[prompt][picture], "seed_distance": distance}
                sample = Sample(prompt_id=f"p{prompt}", prompt="", seed=seed, image="", batch=0, metrics=metrics)
                evaluations[step].append(sample)
    return ranking.rank(evaluations, descriptions())


@dataclass(frozen=True)
class SameModel:
    """Shares of resamples."""

    better: float
    """The best snapshot was called better than step 0."""
    signalled: float
    """Some snapshot raised a signal of overfitting."""
    covered: dict[str, float]
    """Metric → the interval of the first snapshot's difference held the truth, which is 0."""


def same_model(pool: Pool, num_snapshots: int, num_trials: int = NUM_TRIALS) -> SameModel:
    """How often the statistics are fooled by a model that is compared with itself."""
    rng = np.random.default_rng(SEED)
    better, signalled, covered = 0, 0, dict.fromkeys((*LOSSES, "clip_t"), 0)
    for _ in range(num_trials):
        found = resampled(pool, num_snapshots, rng)
        better += found.best is not None and found.best.better_than_base
        signalled += any(summary.raised for summary in found.summaries)
        for metric, values in found.summaries[1].deltas.items():
            if metric in covered and (delta := estimate(values.values())):
                covered[metric] += not (delta.is_below_zero or delta.is_above_zero)
    shares = {metric: count / num_trials for metric, count in covered.items()}
    return SameModel(better / num_trials, signalled / num_trials, shares)


def tell_same_model(pool: Pool) -> None:
    """Table 4."""
    print("\n### The same model against itself\n")
    print("| snapshots | called better than step 0 | signals of overfitting | interval holds 0: ", end="")
    print(" / ".join((*LOSSES, "clip_t")) + " |\n| --- | --- | --- | --- |")
    for num_snapshots in (1, 2, 4):
        found = same_model(pool, num_snapshots)
        covered = " / ".join(f"{share:.1%}" for share in found.covered.values())
        print(f"| {num_snapshots} | {found.better:.1%} | {found.signalled:.1%} | {covered} |")
    print(
        f"\n{len(pool.rows)} prompts × {len(pool.rows[0])} pictures of the embedded base model; 8 prompts × 2", end=""
    )
    print(f" pictures drawn from them for each step; {NUM_TRIALS} resamples a row.")


# --- runs


def tell_run(run: RunDir) -> None:
    """One table: the run's pictures, scored again."""
    config, record, scorer = run.read_config(), run.read_record(), load_scorer("pocket")
    manifest = read_manifest(run.references)
    assert manifest
    references = {prompt: open_picture(run.references / f"{prompt}.png") for prompt in manifest.details["prompts"]}
    training, evaluations, first = TrainingSet(run, config), {}, None
    for step in sorted(steps_in(run.evaluations)):
        result = run.read_result(step)
        if result and result.status == "ok":
            samples = [open_picture(run.evaluation(step) / "images" / sample.image) for sample in result.samples]
            first = first or samples
            prompts = [sample.prompt for sample in result.samples]
            paired = [references[sample.prompt_id] for sample in result.samples]
            rows = scorer.score(MetricInput(paired, samples, prompts, first, training)).rows
            scored = zip(result.samples, rows, strict=True)
            evaluations[step] = [sample.model_copy(update={"metrics": row}) for sample, row in scored]
    found = ranking.rank(evaluations, descriptions(), anchors=anchors(list(references.values()), scorer))
    num_trained = len(training.vectors(lightness))
    print(f"\n### Run `{record.name}`: {num_trained} training pictures, {len(references)} prompts\n")
    columns = ("composite", "composite_low", "composite_high", *(f"{loss}_skill" for loss in LOSSES))
    columns = (*columns, "clip_t", "diversity", "copy_share", "drift")
    print("| step | " + " | ".join(columns) + " | signals |\n|" + " --- |" * (len(columns) + 2))
    for summary in found.summaries:
        row = found.row(summary)
        cells = ("" if row.get(column) is None else f"{row[column]:.3f}" for column in columns)
        print(f"| {summary.step} | " + " | ".join(cells) + f" | {' '.join(summary.raised)} |")
    if found.best:
        print(f"\n{found.best.reason}")
    print(f"\nStop rule: {stop_rule.advise_stop(found, config.stop, config.train.max_train_steps)}")


def write_sheet(run: RunDir) -> Path:
    """A WebP beside the report, eight prompts wide, from top to bottom.

    Real picture, base model, first snapshot, best, last, and the training picture that the last is most alike.
    """
    config, record = run.read_config(), run.read_record()
    training, digest = TrainingSet(run, config).vectors(lightness), Digests(dataset.digests_path(config))
    held_out, size = record.dataset.held_out, config.data.train_size
    trained = dataset.training_pairs(dataset.scan(config), held_out, size, config.train.seed, digest)
    first, *_, last = steps = sorted(steps_in(run.evaluations) - {0})
    best = run.read_best()
    rows = [_first_pictures(run, step) for step in (0, first, best.step if best else steps[-2], last)]
    prompts = list(rows[0])[:8]
    real = {prompt: open_picture(run.references / f"{prompt}.png") for prompt in prompts}
    nearest = {prompt: open_picture(trained[_nearest(training, rows[-1][prompt])].image) for prompt in prompts}
    edge = 128
    sheet = Image.new("RGB", (len(prompts) * edge, 6 * edge), "white")
    for row, pictures in enumerate((real, *rows, nearest)):
        for column, prompt in enumerate(prompts):
            sheet.paste(pictures[prompt].resize((edge, edge)), (column * edge, row * edge))
    path = Path(__file__).parent / "images" / f"meaning-{record.name}.webp"
    path.parent.mkdir(exist_ok=True)
    sheet.save(path, quality=80)
    return path


def _first_pictures(run: RunDir, step: int) -> dict[str, Image.Image]:
    """Of each prompt, by its id."""
    result = run.read_result(step)
    assert result
    found: dict[str, Image.Image] = {}
    for sample in result.samples:
        found.setdefault(sample.prompt_id, open_picture(run.evaluation(step) / "images" / sample.image))
    return found


def _nearest(training_ND: np.ndarray, picture: Image.Image) -> int:
    """Index of the training picture that is most alike."""
    return int(likeness(lightness(picture)[None], training_ND)[0].argmax())


def main() -> None:
    """Print every table, write a sheet of each run."""
    scorer = load_scorer("pocket", metrics=METRICS)
    tell_colour(scorer)
    tell_visual(scorer)
    tell_hard_negatives()
    tell_matching(scorer)
    tell_same_model(draw_pool())
    for path in sys.argv[1:]:
        tell_run(open_run(Path(path)))
        print(f"\nPictures: {write_sheet(open_run(Path(path)))}")


if __name__ == "__main__":
    main()
