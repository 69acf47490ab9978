"""Presets for training every weight: what is proposed fits the card by our own estimate, loads, and has its reasons."""

from __future__ import annotations

from typing import get_args

import pytest

from tasks.text_to_image.families.known import EMBEDDED, FAMILIES
from tasks.text_to_image.models import memory, presets, trained_whole, whole_presets
from tasks.text_to_image.models.memory import GIB
from tasks.text_to_image.models.presets import Preset
from tasks.text_to_image.models.whole_presets import What
from tests.true_shapes import true_shapes
from tests.unit.tasks.text_to_image.models.test_presets import as_config, card

CARDS = {"T4": (14.75, (7, 5)), "P100": (15.9, (6, 0)), "A10G": (22.06, (8, 6)), "A100": (39.6, (8, 0))}


def proposed(what: What, family: str, name: str) -> Preset:
    gibibytes, capability = CARDS[name]
    model = true_shapes(family)
    own = FAMILIES[family]
    return whole_presets.recommend(what, own, card(gibibytes, capability, name), "model", own.resolution, model)


@pytest.mark.parametrize(
    ("name", "batch", "accumulation", "optimizer", "precision", "turns"),
    [
        ("T4", 4, 8, "adamw8bit", "fp16", True),
        ("P100", 8, 4, "adamw8bit", "fp16", True),
        ("A10G", 4, 8, "adamw", "bf16", False),
        ("A100", 8, 4, "adamw", "bf16", False),
    ],
)
def test_a_card_decides_batch_optimizer_and_precision(
    name: str, batch: int, accumulation: int, optimizer: str, precision: str, turns: bool
) -> None:
    config = as_config(proposed("scratch", "sd1", name))
    train = config.train
    assert (train.train_batch_size, train.gradient_accumulation_steps) == (batch, accumulation)
    assert (train.optimizer, config.model.mixed_precision, config.evaluation.turns) == (optimizer, precision, turns)
    assert train.gradient_checkpointing is (name != "A100")
    assert (train.ema_decay == whole_presets.EMA_DECAY) is (name == "A100"), "only where there is room"


@pytest.mark.parametrize("what", get_args(What))
@pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3.5-medium", "z-image"])
@pytest.mark.parametrize("name", CARDS)
def test_what_is_proposed_fits_or_is_said_not_to(what: What, family: str, name: str) -> None:
    preset = proposed(what, family, name)
    config = as_config(preset)
    trained_whole.require(config)
    assert all(choice.reason for choice in preset.choices.values())
    half = "fp16" if config.model.mixed_precision == "fp16" else "bf16"
    model = true_shapes(family)
    needed = [
        footprint(model, config, half, on_gpu=True).bytes
        for footprint in (memory.trainer_footprint, memory.evaluator_footprint)
    ]
    fits = (max(needed) if config.evaluation.turns else sum(needed)) <= presets.USABLE * CARDS[name][0] * GIB
    assert fits is ("may not fit" not in preset.reason)
    train = config.train
    assert train.train_batch_size * train.gradient_accumulation_steps == whole_presets.UPDATE[what]


def test_a_model_that_is_not_here_gets_what_takes_least_and_a_cpu_what_it_can() -> None:
    unknown = whole_presets.recommend("full", FAMILIES["sdxl"], card(24), "owner/name", 1024, None)
    assert "is not on this machine" in unknown.reason
    assert as_config(unknown).train.optimizer == "adamw8bit"
    assert as_config(unknown).train.train_batch_size == 1
    for family in (FAMILIES["sd1"], EMBEDDED["pocket"]):
        preset = whole_presets.recommend("scratch", family, None, "model", 256, None)
        config = as_config(preset)
        trained_whole.require(config)
        assert (config.model.mixed_precision, config.train.optimizer) == ("auto", "adamw")
        assert config.train.train_batch_size * config.train.gradient_accumulation_steps == 32
