"""The expected time of an update: what is hidden behind computing costs nothing, what is not, does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.machine.hardware import Gpu
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.models import step_time
from tests.true_shapes import true_shapes


def config(resolution: int = 1024, **model: object) -> Config:
    return parse_config(
        {
            "data": {"path": "pictures", "resolution": resolution},
            "model": model,
            "train": {"gradient_checkpointing": True, "train_batch_size": 1},
            "evaluation": {"scheduler": "own"},
        }
    )


def relative(settings: Config, gigabytes: int = 12) -> float:
    return step_time.relative(true_shapes("z-image"), settings, step_time.CARDS[gigabytes])


def test_checkpointing_adds_a_forward_pass_to_two_passes() -> None:
    plain = parse_config({"data": {"path": "pictures"}})
    assert relative(plain) == 1
    assert relative(config()) == 1.5
    assert step_time.relative(true_shapes("sdxl"), plain, step_time.CARDS[24]) == 1


def test_blocks_travel_while_others_compute_unless_pictures_are_small() -> None:
    assert relative(config(blocks_to_swap=16)) == 1.5
    small = config(256, blocks_to_swap=34)
    assert relative(small, 24) > 4
    assert relative(config(256, blocks_to_swap=34, quantization="fp8"), 24) < relative(small, 24)


def test_a_small_pictures_step_takes_as_long_as_its_blocks_travel() -> None:
    """34 blocks of 0.18 billion weights, twice, in bf16 over three quarters of PCIe 4.0 × 16."""
    model = true_shapes("z-image")
    tokens = model.family.tokens(model, 256)
    assert tokens == 16 * 16 + 512
    fastest = 2 * 2 * 6.15e9 * tokens / (0.5 * 58e12)
    travel = 2 * 34 * 0.18e9 * 2 / (0.75 * 32e9)
    assert relative(config(256, blocks_to_swap=34)) == pytest.approx(travel / fastest, rel=0.02)


def test_fewer_bits_cost_little_beside_the_products() -> None:
    assert 1.5 < relative(config(quantization="fp8")) < 1.6
    assert 1.5 < relative(config(quantization="4bit")) < 1.6


def test_every_class_of_a_family_has_a_card() -> None:
    assert {size for family in FAMILIES.values() for size in family.sizes} <= step_time.CARDS.keys()


def test_init_says_how_long_a_step_takes_where_the_model_is_here(tiny_flow: Callable[[str], Path]) -> None:
    gpu = Gpu(0, "a card", 0.0, 12 * 1024.0, (8, 6))
    settings = config(path=str(tiny_flow("z-image")))
    assert step_time.sentences(settings, None) == []
    assert step_time.sentences(config(path="nobody/nothing"), gpu) == []
    assert step_time.sentences(settings, gpu) == [
        "speed: a step takes about 1.5 × as long as with memory for everything, computed for such a card (RTX 4070)"
    ]
