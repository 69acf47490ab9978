"""Prompts of a person's own have no real picture: what is measured then, and with what."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pocket.lessons.garments import Garment, catalogue, render
from shared.errors import ModelError
from tasks.text_to_image.descriptors.gradients import describe
from tasks.text_to_image.descriptors.likeness import lightness
from tasks.text_to_image.evaluation.scorer import NO_REFERENCE, load_scorer
from tasks.text_to_image.metrics.artefacts import artefacts, picture_tones, tones
from tasks.text_to_image.metrics.copying import copies
from tasks.text_to_image.metrics.losses.subject import subject_loss
from tasks.text_to_image.metrics.shuffled_captions import clip_t_shuffled
from tasks.text_to_image.scoring.features import Extractor, Features
from tasks.text_to_image.scoring.metric_input import MetricInput, NotGivenError
from tests.unit.tasks.text_to_image.metrics.blind import features_of
from tests.unit.tasks.text_to_image.metrics.trained import Trained

FEATURES = features_of(visual_embedding=describe, picture_lightness=lightness)


def pictures(count: int, seed: int = 0, edge: int = 64) -> list[Image.Image]:
    chosen = np.random.default_rng(seed).choice(len(catalogue()), count, replace=False)
    return [render(catalogue()[index], seed + number, edge)[0] for number, index in enumerate(chosen)]


def test_a_sample_that_looks_like_the_training_pictures_has_the_smaller_loss() -> None:
    trained, noise = pictures(8), np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    samples = [pictures(1, seed=70)[0], Image.fromarray(noise)]
    like, unlike = subject_loss(MetricInput((), samples, ["a", "b"], training=Trained(trained)), FEATURES)
    assert like["subject_loss"] < unlike["subject_loss"]  # type: ignore[operator]
    assert like["subject_mean"] < like["subject_nearest"]  # type: ignore[operator]
    assert like["subject_mean_real"] == unlike["subject_mean_real"]


def test_to_copy_a_training_picture_is_no_gain_over_being_as_near_as_another_one() -> None:
    trained = pictures(8)
    row = subject_loss(MetricInput((), [trained[3]], ["a"], training=Trained(trained)), FEATURES)[0]
    mean, near = row["subject_mean"] or 0, row["subject_nearest_real"] or 0
    assert row["subject_nearest"] == pytest.approx(1)
    without_the_copy = mean - (1 - near) / len(trained)
    assert (row["subject_loss"] or 0) >= 1 - (without_the_copy + near) / 2 - 1e-6


def test_one_training_picture_tells_nothing_of_the_subject() -> None:
    with pytest.raises(ModelError, match="only one training picture"):
        subject_loss(MetricInput((), pictures(1), ["a"], training=Trained(pictures(1))), FEATURES)


def test_copies_are_found_without_references_and_others_are_not() -> None:
    trained = pictures(12)
    samples = [trained[1], *pictures(4, seed=900), trained[5]]
    rows = copies(MetricInput((), samples, [""] * len(samples), training=Trained(trained)), FEATURES)
    assert [row["copy_share"] for row in rows] == [1, 0, 0, 0, 0, 1]


def test_soft_copies_of_every_seed_are_found_without_references() -> None:
    trained = pictures(12)
    soft = [Image.blend(trained[number], pictures(1, seed=800)[0], 0.12) for number in (1, 1, 5, 5)]
    samples, prompts = [*soft, *pictures(2, seed=900)], ["a", "a", "b", "b", "c", "c"]
    rows = copies(MetricInput((), samples, prompts, training=Trained(trained)), FEATURES)
    assert [row["copy_share"] for row in rows] == [1, 1, 1, 1, 0, 0]


def test_new_poses_of_garments_that_the_training_set_has_once_are_no_copies_but_one_pose_for_every_seed_is() -> None:
    once = [Garment("hoodie", "blue", "plain"), Garment("coat", "grey", "plain")]
    trained = [*(render(garment, 1_031_200)[0] for garment in once), *pictures(10, seed=7, edge=128)]
    new = [render(garment, seed)[0] for garment in once for seed in (1_031_212, 1_031_213)]
    copied = [half_remembered(picture, 3, seed) for picture in trained[:2] for seed in (4, 5)]
    for samples, share in ((new, 0), (copied, 1)):
        rows = copies(MetricInput((), samples, [*"aabb"], training=Trained(trained)), FEATURES)
        assert all(0.9 < (row["copy_max"] or 0) < 0.99 for row in rows), "all are near, none is exact"
        assert [row["copy_share"] for row in rows] == [share] * 4


def poses(count: int, seed: int = 0) -> list[Image.Image]:
    """Of one kimono."""
    return [render(Garment("kimono", "red", "tartan"), seed + number, 64)[0] for number in range(count)]


def half_remembered(picture: Image.Image, seed: int, other: int) -> Image.Image:
    """Soft and spotted, nearly alike with every other seed: too inexact for a copy by itself."""
    spots = sum(size * np.random.default_rng(one).normal(size=(10, 10)) for one, size in ((seed, 15), (other, 3)))
    error = np.asarray(Image.fromarray(np.float32(spots)).resize(picture.size, Image.Resampling.BICUBIC))
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(1)), dtype=float) + error[..., None]
    return Image.fromarray(soft.clip(0, 255).astype(np.uint8))


def test_one_prompt_that_always_gives_one_pose_of_the_training_set_is_a_copy_and_new_poses_are_none() -> None:
    trained = poses(12)
    prompts = [name for name in "abcd" for _ in range(2)]
    both = [half_remembered(trained[3], 1, other) for other in (2, 3)]
    rows = copies(MetricInput((), [*both, *poses(6, 500)], prompts, training=Trained(trained)), FEATURES)
    assert [row["copy_share"] for row in rows] == [1, 1, 0, 0, 0, 0, 0, 0]
    assert [row["copy_of"] for row in rows[:2]] == [3, 3]
    assert max(row["copy_max"] or 0 for row in rows[:2]) < 0.98, "no picture is a copy by itself"
    for seed in range(500, 540, 8):
        rows = copies(MetricInput((), poses(8, seed), prompts, training=Trained(trained)), FEATURES)
        assert not any(row["copy_share"] for row in rows)


def test_tones_are_compared_with_those_of_the_training_pictures() -> None:
    trained = pictures(3)
    features = Features({picture_tones: Extractor(tones)})
    row = artefacts(MetricInput((), trained[:1], [""], training=Trained(trained)), features)[0]
    assert row["sample_contrast"] == tones(trained[0]).contrast
    assert row["real_contrast"] == pytest.approx(np.mean([tones(picture).contrast for picture in trained]))


def test_the_base_models_pictures_are_the_text_guards_scale() -> None:
    prompts = ["a", "b", "c", "d"]
    base = [Image.new("RGB", (8, 8), (number, 0, 0)) for number in range(4)]

    def of_text(prompt: str) -> NDArray[np.float32]:
        return np.eye(4, dtype=np.float32)[prompts.index(prompt)]

    def of_picture(picture: Image.Image) -> NDArray[np.float32]:
        return np.eye(4, dtype=np.float32)[int(np.asarray(picture)[0, 0, 0])]

    features = features_of(clip_picture=of_picture, clip_text=of_text)
    rows = clip_t_shuffled(MetricInput((), base[::-1], prompts, base=base), features)
    assert rows == [{"clip_t_shuffled": 0.0}] * 4
    with pytest.raises(ModelError, match="step 0 has no pictures"):
        clip_t_shuffled(MetricInput((), base, prompts), features)


def test_a_run_of_both_kinds_has_paired_losses_only_where_there_is_a_reference(garments: list[Image.Image]) -> None:
    scorer = load_scorer("/nowhere", visual="gradients", metrics=("visual", "color", "subject", "drift"))
    metric_input = MetricInput((), garments, ["a", "b", "c", "d"], base=garments, training=Trained(garments))
    scores = scorer.score_run([garments[0], None, garments[2], None], metric_input)
    assert [row.get("visual_loss") is not None for row in scores.rows] == [True, False, True, False]
    assert all(row["subject_loss"] is not None and row["drift"] == pytest.approx(0, abs=1e-6) for row in scores.rows)
    assert scores.missing == {}
    alone = scorer.score_run([None] * 4, metric_input)
    assert alone.missing == dict.fromkeys(("visual_loss", "color_loss"), NO_REFERENCE)
    assert [row["subject_loss"] for row in alone.rows] == [row["subject_loss"] for row in scores.rows]


class NotGiven(Trained):
    """Of another trainer's LoRAs, whose training pictures nobody gave."""

    def looked_at(self, look: object, at_most: int = 2000) -> list[object]:
        raise NotGivenError("the pictures that were trained on were not given")


def test_without_any_real_picture_the_base_model_says_what_is_sharp_but_not_what_is_colourful() -> None:
    samples, base = pictures(2), pictures(2, seed=40)
    features = Features({picture_tones: Extractor(tones)})
    rows = artefacts(MetricInput((), samples, ["", ""], base=base, training=NotGiven([])), features)
    assert [row["real_sharpness"] for row in rows] == [tones(picture).sharpness for picture in base]
    assert [row["sample_unclipped"] for row in rows] == [tones(picture).unclipped for picture in samples]
    assert {row[f"real_{tone}"] for row in rows for tone in ("contrast", "saturation")} == {None}
