"""Fried and faded pictures are a sign, whatever they show; healthy ones are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from pocket.lessons.garments import catalogue, render
from shared.config.schema import Config
from shared.run_folder.records.best import Signal
from shared.run_folder.records.evaluation_result import Sample
from shared.statistics import signs
from tasks.text_to_image.metrics import descriptions
from tasks.text_to_image.metrics.artefacts import METRIC, artefacts, picture_tones, tones
from tasks.text_to_image.scoring.features import Extractor, Features
from tasks.text_to_image.scoring.metric_input import MetricInput

NUM_PROMPTS = 10
FEATURES = Features({picture_tones: Extractor(tones)})
Change = Callable[[Image.Image], Image.Image]


def fried(picture: Image.Image) -> Image.Image:
    """Contrast, saturation and sharpness as a LoRA trained too long has them."""
    harder = ImageEnhance.Color(ImageEnhance.Contrast(picture).enhance(1.6)).enhance(1.8)
    return harder.filter(ImageFilter.UnsharpMask(2, 150, 0))


def softened(picture: Image.Image) -> Image.Image:
    """As a small VAE draws it."""
    return ImageEnhance.Contrast(picture.filter(ImageFilter.GaussianBlur(0.6))).enhance(0.9)


@pytest.fixture(scope="module")
def references() -> list[Image.Image]:
    chosen = np.random.default_rng(8).choice(len(catalogue()), NUM_PROMPTS, replace=False)
    return [render(catalogue()[index], seed)[0] for seed, index in enumerate(chosen)]


@pytest.fixture(scope="module")
def others(references: list[Image.Image]) -> list[Image.Image]:
    """Other pictures of the same garments, as a healthy LoRA would draw them."""
    chosen = np.random.default_rng(8).choice(len(catalogue()), NUM_PROMPTS, replace=False)
    return [softened(render(catalogue()[index], 500 + seed)[0]) for seed, index in enumerate(chosen)]


def samples(references: Sequence[Image.Image], drawn: Sequence[Image.Image]) -> list[Sample]:
    rows = artefacts(MetricInput(references, drawn, [""] * len(drawn)), FEATURES)
    return [
        Sample(prompt_id=f"p{number}", prompt="", seed=0, image="", batch=0, metrics=row)
        for number, row in enumerate(rows)
    ]


def told(references: Sequence[Image.Image], drawn: Sequence[Image.Image], base: Sequence[Sample] = ()) -> list[Signal]:
    return list(signs.signs(samples(references, drawn), base, METRIC.columns))


def raised(found: list[Signal]) -> set[str]:
    return {signal.name for signal in found if signal.raised}


def test_healthy_pictures_show_no_sign(references: list[Image.Image], others: list[Image.Image]):
    for drawn in (references, others, [ImageOps.mirror(picture) for picture in others]):
        assert raised(told(references, drawn)) == set()


@pytest.mark.parametrize(
    ("change", "sign"),
    [
        (fried, "clipping"),
        (lambda picture: ImageEnhance.Contrast(picture).enhance(0.5), "contrast"),
        (lambda picture: ImageEnhance.Color(picture).enhance(3), "saturation"),
        (lambda picture: ImageEnhance.Color(picture).enhance(0.2), "saturation"),
        (lambda picture: picture.filter(ImageFilter.UnsharpMask(2, 400, 0)), "sharpness"),
        (lambda picture: picture.filter(ImageFilter.GaussianBlur(3)), "sharpness"),
    ],
)
def test_fried_and_faded_pictures_do(references: list[Image.Image], change: Change, sign: str):
    assert sign in raised(told(references, [change(picture) for picture in references]))


def test_the_evidence_is_in_words(references: list[Image.Image]):
    found = told(references, [ImageEnhance.Contrast(picture).enhance(0.5) for picture in references])
    (contrast,) = [signal for signal in found if signal.name == "contrast"]
    assert contrast.evidence.startswith("contrast is 5")
    assert contrast.evidence.endswith(
        "of the reference pictures'; a sign if the whole interval is over 130% or under 70%"
    )


@pytest.mark.parametrize(("data", "whose"), [("pictures", "the training pictures'"), ("none", "the base model's")])
def test_a_run_without_references_says_what_stands_in_for_them(data: str, whose: str):
    config = Config.model_validate({"data": {"path": data, "num_validation": 0}, "evaluation": {"prompts": "p.txt"}})
    signs = {column.name: column.sign for column in descriptions(config).columns if column.sign}
    assert f"of {whose}; a sign" in signs["sharpness"].evidence
    assert signs["sharpness"].unknown == "too few prompts were drawn"
    assert ("no picture of the subject" in signs["contrast"].unknown) == (data == "none")


def test_what_the_base_model_shows_too_is_no_sign(references: list[Image.Image], others: list[Image.Image]):
    faded = [ImageEnhance.Contrast(picture).enhance(0.5) for picture in others]
    assert "contrast" in raised(told(references, faded))
    base = samples(references, [ImageEnhance.Contrast(picture).enhance(0.48) for picture in others])
    assert raised(told(references, faded, base)) == set()
    assert "contrast" in raised(told(references, [ImageEnhance.Contrast(p).enhance(0.2) for p in others], base))


def test_one_prompt_says_nothing(references: list[Image.Image]):
    assert {signal.raised for signal in told(references[:1], [fried(references[0])])} == {None}


def test_a_white_wall_is_not_clipped_and_burnt_colours_are():
    picture = Image.new("RGB", (64, 64), "white")
    assert tones(picture).unclipped == 1
    picture.paste((255, 120, 0), (0, 0, 32, 64))
    assert tones(picture).unclipped == pytest.approx(0.5)
    picture.paste((0, 0, 0), (32, 0, 64, 64))
    assert tones(picture).unclipped == 0
