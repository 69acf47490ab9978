"""A SegFormer of the true architecture and a few thousand weights, which learns in this file what red cloth is."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy, interpolate
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessorPil

from pocket.lessons.garments import Garment, render
from shared.errors import ModelError
from tasks.text_to_image.encoders.segmenter import is_garment, load_segmenter
from tasks.text_to_image.evaluation.scorer import load_scorer
from tasks.text_to_image.metrics.losses.color import UNKNOWN
from tasks.text_to_image.scoring.metric_input import MetricInput

EDGE = 64
LABELS = {0: "Background", 1: "Upper-clothes", 2: "Face"}


def street(seed: int) -> Image.Image:
    """Blocks of grey and blue: no wall to learn from the border."""
    colours = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    colours[..., 0] = colours[..., 1] // 2
    return Image.fromarray(colours).resize((EDGE, EDGE), Image.Resampling.NEAREST)


def before_a_street(colour: str, seed: int) -> tuple[Image.Image, np.ndarray]:
    garment, mask = render(Garment("dress", colour, "plain"), seed, EDGE)
    return Image.composite(garment, street(seed), Image.fromarray(mask.astype(np.uint8) * 255)), mask


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `save_pretrained` writes it."""
    folder = tmp_path_factory.mktemp("encoders") / "segformer"
    torch.manual_seed(0)
    sizes = {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 1]}
    model = SegformerForSemanticSegmentation(
        SegformerConfig(**sizes, decoder_hidden_size=8, id2label=LABELS, label2id={n: i for i, n in LABELS.items()})
    )
    processor = SegformerImageProcessorPil(size={"height": EDGE, "width": EDGE})
    pictures, masks = zip(*(before_a_street("red", seed) for seed in range(16)), strict=True)
    pixels = processor(list(pictures), return_tensors="pt")["pixel_values"]
    targets = torch.from_numpy(np.stack(masks)).long()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        logits = interpolate(model(pixel_values=pixels).logits, size=(EDGE, EDGE), mode="bilinear")
        optimizer.zero_grad()
        cross_entropy(logits, targets).backward()
        optimizer.step()
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_cloth_before_a_street_is_found_in_the_pictures_own_size(folder: Path):
    picture, exact = before_a_street("red", 100)
    found = load_segmenter(str(folder)).garment(picture.resize((90, 120)))
    expected = np.asarray(Image.fromarray(exact).resize((90, 120)))
    assert not found.is_fallback
    assert (found.inside & expected).sum() / (found.inside | expected).sum() > 0.8


def test_colour_is_seen_with_the_segmenter_whose_weights_are_recorded(folder: Path):
    scorer = load_scorer("pocket", metrics=("color",), segmenter=str(folder))
    (reference, mask), (other, _) = before_a_street("red", 100), before_a_street("red", 101)
    paler = np.asarray(reference).copy()
    paler[mask] = paler[mask] // 2 + 40
    rows = scorer.score(MetricInput([reference] * 2, [other, Image.fromarray(paler)], [""] * 2)).rows
    same, changed = (row["color_de00"] or 0 for row in rows)
    assert 0 < 2 * same < changed
    assert (
        scorer.encoders["color_loss"].digest == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    )


def test_a_picture_without_the_garment_has_no_colour(folder: Path):
    scorer = load_scorer("pocket", metrics=("color",), segmenter=str(folder))
    scores = scorer.score(MetricInput([before_a_street("red", 100)[0]], [street(7)], [""]))
    assert scores.rows == [{"color_loss": None, "color_de00": None, "mask_fallback": 1}]
    assert scores.missing["color_loss"] == UNKNOWN


def test_a_segmenter_that_cannot_be_had_is_a_blank_with_a_reason(garments: list[Image.Image]):
    scorer = load_scorer("pocket", metrics=("color", "artefacts"), segmenter="/no/such/segmenter")
    scores = scorer.score(MetricInput(garments, garments, [""] * 4))
    assert {row["color_loss"] for row in scores.rows} == {None}
    assert set(scores.missing) == {"color_loss", "color_de00", "mask_fallback"}
    assert scorer.encoders["color_loss"].reason == scores.missing["color_loss"]
    assert "/no/such/segmenter is not a folder" in scores.missing["color_loss"]


@pytest.mark.parametrize(
    "label", ["Upper-clothes", "UpperClothes", "Pants", "Jumpsuits", "dress", "top, t-shirt, sweatshirt", "apparel"]
)
def test_a_label_with_a_word_for_a_garment_is_cloth(label: str):
    assert is_garment(label)


@pytest.mark.parametrize("label", ["Background", "Left-shoe", "Hair", "wardrobe", "countertop", "landscape", "LABEL_0"])
def test_other_labels_are_not(label: str):
    assert not is_garment(label)


def test_the_labels_that_are_the_subject_can_be_named(folder: Path):
    assert load_segmenter(str(folder)).labels == ("Upper-clothes",)
    assert load_segmenter(str(folder), ["Face"]).labels == ("Face",)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["Hat", "Face"], "has no label Hat; it has Background, Face, Upper-clothes"),
        ((), "no label that names a garment"),
    ],
)
def test_a_segmenter_without_the_labels_lists_those_it_has(
    folder: Path, labels: list[str], message: str, monkeypatch: pytest.MonkeyPatch
):
    if not labels:
        monkeypatch.setattr("tasks.text_to_image.encoders.segmenter.GARMENT_WORDS", set())
    with pytest.raises(ModelError, match=message):
        load_segmenter(str(folder), labels)


def test_a_classifier_is_no_segmenter(dinov2_folder: Path):
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_segmenter(str(dinov2_folder))
