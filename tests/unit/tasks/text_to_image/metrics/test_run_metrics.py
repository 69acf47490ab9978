"""What needs more than a pair: pictures of one prompt, the training pictures, step 0's pictures."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter, ImageOps

from pocket.lessons.garments import Garment, catalogue, concept, render
from shared.data import dataset
from shared.errors import ModelError
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.descriptors.gradients import describe
from tasks.text_to_image.descriptors.likeness import lightness
from tasks.text_to_image.evaluation import training_set
from tasks.text_to_image.evaluation.training_set import TrainingSet
from tasks.text_to_image.metrics.copying import copies
from tasks.text_to_image.metrics.diversity import seed_distance
from tasks.text_to_image.metrics.drift import drift
from tasks.text_to_image.metrics.shuffled_captions import clip_t_shuffled
from tasks.text_to_image.scoring.metric_input import MetricInput, Row
from tests.conftest import RunMaker
from tests.unit.tasks.text_to_image.metrics.blind import features_of

FEATURES = features_of(visual_embedding=describe, picture_lightness=lightness)


class Trained(TrainingSet):
    """Learnt from these pictures."""

    def __init__(self, *pictures: Image.Image) -> None:
        self._pictures = pictures

    def vectors(self, embed: Callable[[Image.Image], NDArray[np.float32]], at_most: int = 2000) -> NDArray[np.float32]:
        return np.stack([embed(picture) for picture in self._pictures[:at_most]])


def pictures(count: int, seed: int = 0, edge: int = 64) -> list[Image.Image]:
    chosen = np.random.default_rng(seed).choice(len(catalogue()), count, replace=False)
    return [render(catalogue()[index], seed + number, edge)[0] for number, index in enumerate(chosen)]


def test_pictures_of_one_prompt_that_are_one_picture_have_no_distance(garments: list[Image.Image]) -> None:
    rows = seed_distance(
        MetricInput(garments[:2] * 2, [garments[0]] * 2 + garments[:2], ["a", "a", "b", "b"]), FEATURES
    )
    assert [row["seed_distance"] for row in rows[:2]] == pytest.approx([0, 0], abs=1e-6)
    assert rows[2]["seed_distance"] == rows[3]["seed_distance"]
    assert (rows[2]["seed_distance"] or 0) > 0.01


def test_the_mean_over_a_prompts_pictures_is_their_mean_pairwise_distance(garments: list[Image.Image]) -> None:
    rows = seed_distance(MetricInput(garments, garments, ["a"] * 4), FEATURES)
    vectors = [describe(picture).astype(float) for picture in garments]
    pairwise = np.mean([1 - one @ other for one, other in combinations(vectors, 2)])
    assert np.mean([row["seed_distance"] or 0 for row in rows]) == pytest.approx(pairwise)


def test_one_picture_of_a_prompt_has_no_diversity_rather_than_none_at_all(garments: list[Image.Image]) -> None:
    rows = seed_distance(MetricInput(garments[:3], garments[:3], ["a", "b", "b"]), FEATURES)
    assert rows[0] == {"seed_distance": None}
    assert rows[1]["seed_distance"] is not None


def test_step_0_has_not_drifted_from_itself(garments: list[Image.Image]) -> None:
    rows = drift(MetricInput(garments, garments, [""] * 4, base=garments), FEATURES)
    assert [row["drift"] for row in rows] == pytest.approx([0] * 4, abs=1e-6)
    assert (drift(MetricInput(garments, garments, [""] * 4, base=garments[::-1]), FEATURES)[0]["drift"] or 0) > 0.01


def test_without_step_0s_pictures_there_is_no_drift(garments: list[Image.Image]) -> None:
    with pytest.raises(ModelError, match="step 0 has no pictures"):
        drift(MetricInput(garments, garments, [""] * 4), FEATURES)


def encoded(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=60)
    return Image.open(file).convert("RGB")


def rows_of(trained: list[Image.Image] | Trained, samples: list[Image.Image], num_held_out: int = 3) -> list[Row]:
    held_out = pictures(num_held_out, seed=50)
    references = [held_out[number % num_held_out] for number in range(len(samples))]
    training = trained if isinstance(trained, Trained) else Trained(*trained)
    return copies(MetricInput(references, samples, [""] * len(samples), training=training), FEATURES)


def test_a_copy_is_found_among_twelve_or_forty_also_mirrored_encoded_and_in_another_colour() -> None:
    for count in (12, 40):
        trained = pictures(count)
        red, green, blue = trained[7].split()
        disguised = encoded(ImageOps.mirror(Image.merge("RGB", (green, blue, red))))
        rows = rows_of(trained, [trained[1], *pictures(4, seed=900), encoded(trained[5]), disguised])
        assert [row["copy_share"] for row in rows] == [1, 0, 0, 0, 0, 1, 1]
        assert [row.get("copy_of") for row in rows] == [1, None, None, None, None, 5, 7]
        assert all((row["copy_max"] or 0) > 0.99 for row in rows if row["copy_share"])


def test_a_soft_copy_is_found_also_shifted_and_mirrored_or_cropped() -> None:
    trained = pictures(12, edge=128)
    soft = [picture.filter(ImageFilter.GaussianBlur(3)) for picture in trained]
    moved = [ImageOps.mirror(ImageChops.offset(soft[3], 5, -4)), soft[5].resize((128, 128), box=(4, 14, 112, 122))]
    rows = rows_of(trained, [*moved, soft[7], *pictures(5, seed=900, edge=128)])
    assert [row.get("copy_of") for row in rows] == [3, 5, 7, None, None, None, None, None]


def kimonos(count: int, seed: int) -> list[Image.Image]:
    return [render(garment, 100 * seed + number)[0] for number, garment in enumerate(concept(count, seed))]


def lit_wrongly(picture: Image.Image, seed: int, other: int) -> Image.Image:
    """Soft, and lighter or darker by patches, as a model errs that has learnt the picture by heart: nearly alike with
    every other seed."""
    patches = sum(size * np.random.default_rng(one).normal(size=(12, 12)) for one, size in ((seed, 18), (other, 4)))
    error = np.asarray(Image.fromarray(np.float32(patches)).resize(picture.size, Image.Resampling.BICUBIC))
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(2)), dtype=float)
    return Image.fromarray((soft + error[..., None]).clip(0, 255).astype(np.uint8))


def test_an_inexact_copy_tells_when_every_seed_of_several_prompts_gives_one() -> None:
    trained, references, new = kimonos(12, 3), kimonos(4, 9), kimonos(4, 30)
    seeds = [lit_wrongly(trained[prompt], prompt, other) for prompt in range(4) for other in (8, 9)]
    paired = [references[number // 2] for number in range(8)]

    def shares(samples: list[Image.Image], prompts: list[str]) -> list[float | None]:
        rows = copies(MetricInput(paired, samples, prompts, training=Trained(*trained)), FEATURES)
        assert all((row["copy_max"] or 0) < 0.95 for row in rows), "none is exact"
        return [row["copy_share"] for row in rows]

    assert shares(seeds, [*"aabbccdd"]) == [1] * 8
    assert shares(seeds, [*"aaaaaaaa"]) == [1] * 8, "each reference has prompts of its own, whatever the caption"
    assert shares(seeds, [*"abcdefgh"]) == [0] * 8, "one seed each tells nothing"
    assert shares([*seeds[:6], *new[:2]], [*"aabbccdd"]) == [1] * 6 + [0] * 2
    assert shares([one for pair in zip(seeds[::2], new, strict=True) for one in pair], [*"aabbccdd"]) == [0] * 8
    apart = [lit_wrongly(trained[prompt], 10 * prompt + other, prompt) for prompt in range(4) for other in (8, 9)]
    assert shares(apart, [*"aabbccdd"]) == [0] * 8, "as new poses are: further from one another than from the picture"


def test_new_pictures_are_hardly_ever_called_copies() -> None:
    new = [picture for seed in range(1000, 1600, 100) for picture in pictures(16, seed)]
    rows = rows_of(pictures(30), new)
    assert [row["copy_share"] for row in rows] == [0] * 96
    assert 0.3 < np.mean([(row["copy_p"] or 0) < 0.5 for row in rows]) < 0.6


def test_the_same_garment_that_hangs_nearly_alike_by_chance_is_no_copy() -> None:
    skirt = Garment("skirt", "navy", "striped")
    known, new = (render(skirt, seed)[0] for seed in (52004, 52123))
    rows = rows_of([*pictures(23), known], [new, *pictures(5, seed=900)])
    assert 0.98 < (rows[0]["copy_max"] or 0) < 0.99
    assert [row["copy_share"] for row in rows] == [0] * 6
    assert rows_of([*pictures(23), known], [known, *pictures(5, seed=900)])[0]["copy_share"] == 1


def test_prompts_that_all_come_near_the_only_garment_of_its_kind_copy_nothing() -> None:
    coat = Garment("coat", "blue", "striped")
    known, *poses = (render(coat, seed)[0] for seed in (52046, 52011, 52113))
    trained, held_out = Trained(*pictures(23), known), pictures(4, seed=50)
    metric_input = MetricInput(held_out, poses * 2, [*"aabb"], training=trained)
    rows = copies(metric_input, FEATURES)
    assert all((row["copy_max"] or 0) > 0.94 for row in rows)
    assert [row["copy_share"] for row in rows] == [0] * 4


def test_a_training_picture_with_a_twin_can_be_copied() -> None:
    originals = pictures(16)
    trained = [*originals, *(encoded(ImageOps.mirror(picture)) for picture in originals[:8])]
    rows = rows_of(trained, [*originals[:4], *pictures(4, seed=900)])
    assert [row["copy_share"] for row in rows] == [1] * 4 + [0] * 4


def test_a_held_out_picture_that_was_trained_on_does_not_hide_copies() -> None:
    trained = pictures(16)
    metric_input = MetricInput([trained[0]] * 4, trained[:4], [""] * 4, training=Trained(*trained))
    assert [row["copy_share"] for row in copies(metric_input, FEATURES)] == [1] * 4


def test_too_few_different_training_pictures_tell_nothing_of_chance() -> None:
    trained = pictures(3)
    with pytest.raises(ModelError, match="fewer than 4 different training pictures"):
        rows_of([*trained, *trained, *map(ImageOps.mirror, trained)], pictures(4, seed=900))
    with pytest.raises(ModelError, match="fewer than 4 different training pictures"):
        rows_of(trained[:1], pictures(4, seed=900))


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def test_a_runs_training_pictures_are_all_but_the_held_out_and_looked_at_once(run: RunDir) -> None:
    config, record = run.read_config(), run.read_record()
    seen: list[Image.Image] = []
    training = TrainingSet(run, config)

    def look(picture: Image.Image) -> NDArray[np.float32]:
        seen.append(picture)
        return lightness(picture)

    vectors = training.vectors(look)
    assert training.vectors(look) is vectors
    assert len(seen) == len(vectors) == len(dataset.scan(config)) - len(record.dataset.held_out)
    assert {picture.size for picture in seen} == {(32, 32)}


def test_of_a_long_data_set_an_even_share_is_looked_at(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_set, "MAX_PICTURES", 4)
    assert len(TrainingSet(run, run.read_config()).vectors(lightness)) == 3  # every third of nine


def test_a_data_set_that_is_gone_leaves_copying_blank_with_a_reason(
    run: RunDir, garments: list[Image.Image], tmp_path
) -> None:
    from tasks.text_to_image.evaluation.scorer import load_scorer  # noqa: PLC0415

    config = run.read_config()
    gone = config.model_copy(update={"data": config.data.model_copy(update={"path": str(tmp_path / "gone")})})
    metric_input = MetricInput(garments, garments, ["a"] * 4, training=TrainingSet(run, gone))
    scores = load_scorer("/nowhere", metrics=("copying", "color")).score(metric_input)
    assert {row["copy_max"] for row in scores.rows} == {None}
    assert "gone" in scores.missing["copy_max"]
    assert all(row["color_loss"] is not None for row in scores.rows)


def test_shuffled_captions_score_what_the_other_captions_do():
    angles = {"a": 0.0, "b": 0.4, "c": 0.8, "d": 1.2}
    features = features_of(
        clip_text=lambda text: np.array([np.cos(angles[text]), np.sin(angles[text])]),
        clip_picture=lambda picture: np.array([np.cos(picture.width / 10), np.sin(picture.width / 10)]),
    )
    pictures = [Image.new("RGB", (round(10 * angle) or 1, 1)) for angle in angles.values()]
    rows = clip_t_shuffled(MetricInput(pictures, pictures, list(angles)), features)
    expected = np.mean([np.cos(0.1 - angle) for angle in (0.4, 0.8, 1.2)])
    assert rows[0]["clip_t_shuffled"] == pytest.approx(expected)
    with pytest.raises(ModelError, match="2 different captions"):
        clip_t_shuffled(MetricInput(pictures, pictures, ["a", "a", "b", ""]), features)
    with pytest.raises(ModelError, match="fit others' captions as well"):
        clip_t_shuffled(MetricInput(pictures, pictures, ["c", "d", "a", "b"]), features)
