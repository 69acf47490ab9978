"""Presets: every row fits its card by our own estimate, loads as a config, and means the same training."""

from __future__ import annotations

from typing import Any

import pytest

from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.machine.hardware import Gpu
from tasks.text_to_image.families.known import EMBEDDED, FAMILIES
from tasks.text_to_image.models import memory, presets
from tasks.text_to_image.models.memory import GIB
from tasks.text_to_image.models.presets import Choice, Preset
from tests.true_shapes import true_shapes

EVERY = {**FAMILIES, **EMBEDDED}
ROWS = [(name, gigabytes) for name, family in FAMILIES.items() for gigabytes in family.sizes]


def card(gibibytes: float, capability: tuple[int, int] = (8, 6), name: str = "a card") -> Gpu:
    return Gpu(0, name, 0.0, gibibytes * 1024, capability)


def as_config(preset: Preset) -> Config:
    tree: dict[str, dict[str, Any]] = {"data": {"path": "pictures"}}
    for key, choice in preset.choices.items():
        section, _, setting = key.partition(".")
        tree.setdefault(section, {})[setting] = choice.value
    return parse_config(tree)


@pytest.mark.parametrize(("family", "gigabytes"), ROWS)
def test_trainer_and_evaluator_fit_the_card_by_our_estimate(family: str, gigabytes: int) -> None:
    config = as_config(presets.recommend(EVERY[family], card(gigabytes)))
    model = true_shapes(family)
    needed = memory.trainer_footprint(model, config, "fp16", on_gpu=True).bytes
    if config.evaluation.device != "cpu":
        needed += memory.evaluator_footprint(model, config, "fp16", on_gpu=True).bytes
    assert needed <= presets.USABLE * gigabytes * GIB


@pytest.mark.parametrize(("family", "gigabytes"), [*ROWS, *((name, None) for name in EVERY)])
def test_every_preset_loads_trains_on_four_pictures_an_update_and_gives_reasons(
    family: str, gigabytes: int | None
) -> None:
    preset = presets.recommend(EVERY[family], card(gigabytes) if gigabytes else None)
    settings = as_config(preset).train
    assert settings.train_batch_size * settings.gradient_accumulation_steps == presets.PICTURES_PER_UPDATE
    assert all(choice.reason for choice in preset.choices.values())
    assert preset.reason


@pytest.mark.parametrize(
    ("name", "gibibytes", "capability", "gigabytes", "precision"),
    [
        ("Tesla T4", 14.75, (7, 5), 16, "fp16"),
        ("Tesla V100-SXM2-16GB", 15.8, (7, 0), 16, "fp16"),
        ("NVIDIA GeForce RTX 2080 Ti", 10.75, (7, 5), 10, "fp16"),
        ("NVIDIA GeForce RTX 3060", 12.0, (8, 6), 12, "bf16"),
        ("NVIDIA A10G", 22.06, (8, 6), 24, "bf16"),
        ("NVIDIA A100-SXM4-40GB", 39.6, (8, 0), 40, "bf16"),
        ("NVIDIA H100 80GB HBM3", 79.6, (9, 0), 80, "bf16"),
        ("NVIDIA H200", 139.0, (9, 0), 80, "bf16"),
        ("a card whose driver says little", 8.0, (0, 0), 8, "auto"),
    ],
)
def test_cards_are_told_by_what_their_driver_says(
    name: str, gibibytes: float, capability: tuple[int, int], gigabytes: int, precision: str
) -> None:
    preset = presets.recommend(EVERY["sd1"], card(gibibytes, capability, name))
    assert preset.name == f"sd1 on {gigabytes} GB"
    assert name in preset.reason
    assert preset.choices["model.mixed_precision"].value == precision


def test_a_card_below_a_familys_smallest_class_is_told_that_it_may_not_do() -> None:
    assert presets.recommend(EVERY["sd1"], card(6.0)).reason == (
        "a card has 6.0 GiB, and SD 1.x needs a card of 8 GB: it may not fit"
    )
    assert presets.card_class(24, {40: 0, 80: 0}) == 40
    assert presets.card_class(79.6, {40: 0, 80: 0}) == 80


def test_sdxl_beside_its_evaluator_needs_24_gigabytes() -> None:
    assert presets.recommend(EVERY["sdxl"], card(16)).choices["evaluation.device"].value == "cpu"
    assert presets.recommend(EVERY["sdxl"], card(24)).choices["evaluation.device"].value == "auto"


@pytest.mark.parametrize(
    ("own", "proposed", "reason"),
    [
        (128, 128, "what the base model was trained on"),
        (768, 256, "on a CPU, less than the 768 the base model was trained on"),
    ],
)
def test_pictures_are_no_larger_than_those_the_model_itself_was_trained_on(
    own: int, proposed: int, reason: str
) -> None:
    preset = presets.recommend(EVERY["sd1"], None, resolution=own)
    assert preset.choices["data.resolution"] == Choice(proposed, reason)
