"""The metrics mean something: proofs 1 to 4 of docs/metrics.md.

Garments are held-out combinations with seeds of their own: no constant was chosen on them. Photographs are those
installed with scikit-image; six of them (astronaut, chelsea, coffee, coins, rocket, grass) helped to choose the
constants of the weight-free descriptor, the others did not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from skimage import data

from evaluator.selection.ranking import rank
from pocket.lessons.garments import Garment, render, split_catalogue
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.evaluation_result import Sample
from shared.statistics.paired import estimate
from tasks.text_to_image.descriptors.palette import palette, palette_distance
from tasks.text_to_image.encoders.chosen import Encoders
from tasks.text_to_image.encoders.encoder import Vector
from tasks.text_to_image.evaluation.scorer import Scorer, load_scorer
from tasks.text_to_image.metrics import pairwise_metrics
from tasks.text_to_image.metrics.legacy import legacy_losses
from tasks.text_to_image.scoring.features import visual_embedding
from tasks.text_to_image.scoring.metric_input import MetricInput, Row
from tests.unit.tasks.text_to_image.metrics.blind import features_of

Mask = NDArray[np.bool_]
Distance = Callable[[Image.Image, Image.Image], float]

SEED = 4711
SHIFT = 16
CHROMATIC = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink")
PHOTOGRAPHS = {
    "astronaut": data.astronaut,
    "camera": data.camera,
    "cell": data.cell,
    "chelsea": data.chelsea,
    "clock": data.clock,
    "coffee": data.coffee,
    "coins": data.coins,
    "grass": data.grass,  # without `gravel`, which beside it is the same grey texture
    "hubble": data.hubble_deep_field,
    "moon": data.moon,
    "motorcycle": lambda: data.stereo_motorcycle()[0],
    "rocket": data.rocket,
    "text": data.text,
    "tissue": data.immunohistochemistry,
}


# --- pictures


@cache
def photographs(edge: int) -> dict[str, Image.Image]:
    """The middle square of each, in RGB."""
    loaded = {name: Image.fromarray(np.asarray(load())).convert("RGB") for name, load in PHOTOGRAPHS.items()}
    return {name: ImageOps.fit(picture, (edge, edge)) for name, picture in loaded.items()}


@cache
def held_out_garments() -> list[tuple[Garment, Image.Image, Mask]]:
    """Every held-out combination once, with its exact mask."""
    garments = split_catalogue()[1]
    return [(garment, *render(garment, SEED + number)) for number, garment in enumerate(garments)]


def augmented(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Another photograph of the same garment: cropped, perhaps flipped, exposed otherwise."""
    edge = int(picture.width * rng.uniform(0.8, 0.95))
    left, top = (int(value) for value in rng.integers(0, picture.width - edge + 1, 2))
    box = (left, top, left + edge, top + edge)
    crop = picture.resize(picture.size, Image.Resampling.BICUBIC, box=box)
    flipped = ImageOps.mirror(crop) if rng.random() < 0.5 else crop
    return ImageEnhance.Brightness(flipped).enhance(rng.uniform(0.75, 1.25))


def recoloured(picture: Image.Image, mask: Mask) -> Image.Image:
    """The garment's hue turned by a third of the circle; the wall as it was."""
    hsv = np.asarray(picture.convert("HSV")).copy()
    hsv[mask, 0] += 85  # wraps at 256
    return Image.frombytes("HSV", picture.size, hsv.tobytes()).convert("RGB")


def before_a_darker_wall(picture: Image.Image, mask: Mask) -> Image.Image:
    """The wall ten levels darker, as from 250 to 240; the garment as it was."""
    pixels = np.asarray(picture).copy()
    pixels[~mask] -= np.minimum(pixels[~mask], 10)
    return Image.fromarray(pixels)


def shifted(picture: Image.Image, pixels: int) -> Image.Image:
    """Moved sideways; what leaves on one side enters on the other."""
    return Image.fromarray(np.roll(np.asarray(picture), pixels, axis=1))


def flat(picture: Image.Image) -> Image.Image:
    """The picture's mean colour."""
    red, green, blue = np.asarray(picture).mean(axis=(0, 1)).round().astype(int).tolist()
    return Image.new("RGB", picture.size, (red, green, blue))


def variants(picture: Image.Image) -> tuple[list[Image.Image], list[Image.Image]]:
    """(what should stay near, what should be far)."""
    near = [shifted(picture, SHIFT), shifted(picture, -SHIFT), ImageOps.mirror(picture)]
    blurred = picture.filter(ImageFilter.GaussianBlur(picture.width / 20))
    return near, [flat(picture), Image.new("RGB", picture.size, (128, 128, 128)), blurred]


def fried(picture: Image.Image) -> Image.Image:
    """As a LoRA trained for too long draws: too much contrast and colour, hard edges."""
    harder = ImageEnhance.Color(ImageEnhance.Contrast(picture).enhance(1.6)).enhance(1.8)
    return harder.filter(ImageFilter.UnsharpMask(2, 150, 0))


def faded(picture: Image.Image) -> Image.Image:
    """Half the contrast."""
    return ImageEnhance.Contrast(picture).enhance(0.5)


def scrambled(picture: Image.Image, side: int = 4) -> Image.Image:
    """The picture's own tiles, each in another's place."""
    edge = picture.width // side
    boxes = [(x * edge, y * edge, (x + 1) * edge, (y + 1) * edge) for y in range(side) for x in range(side)]
    mixed = picture.copy()
    for box, number in zip(boxes, np.random.default_rng(0).permutation(len(boxes)), strict=True):
        mixed.paste(picture.crop(boxes[number]), box)
    return mixed


# --- distances


def color_distance(one: Image.Image, other: Image.Image) -> float:
    return palette_distance(palette(one), palette(other))


def legacy_distance(column: str) -> Distance:
    return lambda one, other: legacy_losses(MetricInput([one], [other], [""]), features_of())[0][column] or 0.0


def area_under_curve(matched: NDArray[np.float64], shuffled: NDArray[np.float64]) -> float:
    """How often a matched pair costs less than a shuffled one, 0…1; 0.5 is chance."""
    return float((matched[:, None] < shuffled).mean() + (matched[:, None] == shuffled).mean() / 2)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return load_scorer("pocket", metrics=pairwise_metrics())


# --- 1: colour


def test_a_garments_hue_outweighs_a_walls_shade_more_than_tenfold():
    chromatic = [(picture, mask) for garment, picture, mask in held_out_garments() if garment.colour in CHROMATIC]
    assert len(chromatic) >= 15
    for picture, mask in chromatic:
        hue = color_distance(picture, recoloured(picture, mask))
        wall = color_distance(picture, before_a_darker_wall(picture, mask))
        assert hue > 10 * wall


def test_the_original_colour_formula_has_it_the_wrong_way_round():
    picture, mask = render(Garment("dress", "red", "plain"), SEED)
    pixels = np.asarray(picture).copy()
    pixels[~mask] = 250
    image_generator = Image.fromarray(pixels)
    distance = legacy_distance("legacy_color_loss")
    assert distance(image_generator, before_a_darker_wall(image_generator, mask)) > 10 * distance(
        image_generator, recoloured(image_generator, mask)
    )


# --- 2: visual


@pytest.fixture(scope="module", params=["efficientnet-lite0", pytest.param("gradients", marks=pytest.mark.slow)])
def describe(request: pytest.FixtureRequest) -> Callable[[Image.Image], Vector]:
    """Both encoders that need no download."""
    return visual_embedding(Encoders({"visual": request.param})).extract


@pytest.mark.parametrize("edge", [256, pytest.param(512, marks=pytest.mark.slow)])
def test_a_shifted_or_mirrored_photograph_is_nearer_than_grey_blur_or_another_photograph(
    describe: Callable[[Image.Image], Vector], edge: int
):
    assert_ordered(list(photographs(edge).values()), describe)


@pytest.mark.parametrize("number", [10, pytest.param(None, marks=pytest.mark.slow)])
def test_a_shifted_or_mirrored_garment_is_nearer_than_grey_blur_or_another_garment(
    describe: Callable[[Image.Image], Vector], number: int | None
):
    assert_ordered([picture for _, picture, _ in held_out_garments()[:number]], describe)


def assert_ordered(pictures: list[Image.Image], describe: Callable[[Image.Image], Vector]) -> None:
    """For every picture: shift and mirror cost less than grey, blur, and any other picture of the list."""
    described = [describe(picture) for picture in pictures]
    for number, picture in enumerate(pictures):
        near, far = ([1 - described[number] @ describe(variant) for variant in group] for group in variants(picture))
        others = [1 - described[number] @ vector for other, vector in enumerate(described) if other != number]
        assert max(near) < min(*far, *others), number


def test_the_original_visual_formula_prefers_flat_grey():
    astronaut, distance = photographs(512)["astronaut"], legacy_distance("legacy_visual_loss")
    assert distance(astronaut, flat(astronaut)) < distance(astronaut, shifted(astronaut, SHIFT))
    assert distance(astronaut, flat(astronaut)) < distance(astronaut, ImageOps.mirror(astronaut))


# --- 3: matched against shuffled


@pytest.fixture(scope="module")
def shuffled_rows(scorer: Scorer) -> list[list[Row]]:
    """The rows of every second garment with another photograph of itself, then of garments some places further."""
    rng = np.random.default_rng(SEED)
    references = [picture for _, picture, _ in held_out_garments()[::2]]
    samples = [augmented(picture, rng) for picture in references]
    prompts = [""] * len(samples)
    shuffled = [samples[by:] + samples[:by] for by in (0, 1, 4, 9, 16)]
    return [scorer.score(MetricInput(references, order, prompts)).rows for order in shuffled]


@pytest.mark.parametrize("column", ["visual_loss", "fashion_clip_loss", "color_loss"])
def test_matched_pairs_cost_less_than_shuffled_ones(shuffled_rows: list[list[Row]], column: str):
    costs = np.array([[value for row in rows if (value := row[column]) is not None] for rows in shuffled_rows])
    assert area_under_curve(costs[0], costs[1:].ravel()) >= 0.9


# --- 4: statistics


def test_the_same_pictures_get_identical_rows(scorer: Scorer):
    references = [picture for _, picture, _ in held_out_garments()[:6]]
    samples, prompts = references[::-1], [garment.caption() for garment, _, _ in held_out_garments()[:6]]
    again = load_scorer("pocket", metrics=pairwise_metrics()).score(MetricInput(references, samples, prompts))
    assert scorer.score(MetricInput(references, samples, prompts)) == again
    assert scorer.score(MetricInput(references, samples, prompts)) == again


@pytest.mark.parametrize("num_snapshots", [1, 4])
def test_a_snapshot_equal_to_the_base_is_rarely_called_better(num_snapshots: int):
    """Real metric values of real pictures: which of them are step 0's is chance alone, 400 times."""
    pool, rng = equal_pictures(), np.random.default_rng(SEED)
    num_better = 0
    for _ in range(400):
        evaluations: dict[int, list[Sample]] = {step: [] for step in range(num_snapshots + 1)}
        for prompt in rng.choice(len(pool), 8, replace=False):
            shuffled = rng.permutation(len(pool[prompt]))
            for number, picture in enumerate(shuffled[: 2 * (num_snapshots + 1)]):
                seed, step = divmod(number, num_snapshots + 1)
                evaluations[step].append(row(f"p{prompt}", seed, pool[prompt][picture]))
        best = rank(evaluations, OLDER_METRICS).best
        num_better += best is not None and best.better_than_base
    assert num_better / 400 <= 0.05


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng, covered, truth = np.random.default_rng(SEED), [], -0.1
    for _ in range(2000):
        usual, effect = rng.normal(0.5, 0.1, 8), rng.normal(truth, 0.05, 8)
        before = [row(f"p{p}", s, {"visual_loss": usual[p] + rng.normal(0, 0.05)}) for p in range(8) for s in range(2)]
        after = [
            row(f"p{p}", s, {"visual_loss": usual[p] + effect[p] + rng.normal(0, 0.05)})
            for p in range(8)
            for s in range(2)
        ]
        found = estimate(rank({0: before, 100: after}, OLDER_METRICS).summaries[1].deltas["visual_loss"].values())
        assert found
        covered.append((found.low or 0) <= truth <= (found.high or 0))
    assert 0.93 <= np.mean(covered) <= 0.97


@cache
def equal_pictures() -> list[list[dict[str, float | None]]]:
    """For each of 9 prompts, the numbers of 10 pictures that are equally good: augmentations of one garment."""
    scorer, rng = load_scorer("pocket", metrics=pairwise_metrics()), np.random.default_rng(SEED)
    pool = []
    for garment, picture, _ in held_out_garments()[:9]:
        samples = [augmented(picture, rng) for _ in range(10)]
        pool.append(scorer.score(MetricInput([picture] * 10, samples, [garment.caption()] * 10)).rows)
    return pool


def row(prompt: str, seed: int, metrics: dict[str, float | None]) -> Sample:
    return Sample(prompt_id=prompt, prompt=prompt, seed=seed, image="", batch=0, metrics=metrics)
