"""Blocks that wait in the host's memory: the same numbers, bit for bit, whichever blocks and whenever it begins."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ZImageTransformer2DModel
from torch import nn

from shared.config.loading import parse_config
from shared.config.resume_rule import CHANGEABLE
from shared.config.schema import RULES, Config
from shared.errors import ConfigError
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.models import memory, precheck, suitability
from tasks.text_to_image.weights import denoiser_blocks
from tasks.text_to_image.weights.block_swap import BlockSwap, blocks
from tests.conftest import tiny_config
from tests.true_shapes import true_shapes
from tests.unit.tasks.text_to_image.weights.conftest import TRAIN, Run, Runs, assert_equal
from trainer.checkpoint import Checkpoint

GIB = 2**30


@pytest.fixture(scope="module")
def plain(runs: Runs) -> tuple[Run, list[Checkpoint]]:
    run = runs()
    return run, [copy.deepcopy(run.step()) for _ in range(3)]


@pytest.mark.parametrize("count", [1, 4])
def test_losses_moments_and_adapter_are_those_of_a_run_without_swapping(
    count: int, plain: tuple[Run, list[Checkpoint]], runs: Runs, tmp_path: Path
) -> None:
    reference, saved = plain
    run = runs(blocks_to_swap=count)
    for checkpoint in saved:
        own = run.step()
        assert_equal(own.weights, checkpoint.weights)
        assert_equal(own.optimizer, checkpoint.optimizer)
    assert run.losses == reference.losses
    assert_equal(run.file(tmp_path / "swapped"), reference.file(tmp_path / "plain"))


def test_a_resumed_run_may_begin_to_swap(plain: tuple[Run, list[Checkpoint]], runs: Runs) -> None:
    assert RULES["model.blocks_to_swap"] in CHANGEABLE
    run = runs(blocks_to_swap=2)
    run.learner.restore(plain[1][1])
    assert_equal(run.step().weights, plain[1][2].weights)


def test_a_model_that_left_the_device_and_came_back_learns_the_same(
    plain: tuple[Run, list[Checkpoint]], runs: Runs
) -> None:
    """`evaluation.turns`: while the evaluator draws."""
    run = runs(blocks_to_swap=2)
    for checkpoint in plain[1][:2]:
        assert_equal(run.step().weights, checkpoint.weights)
        run.learner.leave_device()
        run.learner.return_to_device()
        assert_equal(run.learner.weights(), checkpoint.weights)


class Chain(nn.Module):
    """A denoiser of four layers, called as a transformer calls its blocks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(4))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            value = layer(value)
        return value


def test_only_the_block_that_computes_has_its_weights() -> None:
    chain, present = Chain(), []
    for layer in chain.layers:
        layer.requires_grad_(False)

    def note(layer: nn.Module, arguments: Any) -> None:
        present.append([number for number, other in enumerate(chain.layers) if other.weight.numel()])

    whole = chain(torch.ones(3))
    BlockSwap(chain, 3, torch.device("cpu"))
    for layer in chain.layers:
        layer.register_forward_pre_hook(note)
    with torch.no_grad():
        assert torch.equal(chain(torch.ones(3)), whole)
    swapped = denoiser_blocks.spread(3, 4)
    assert swapped == [0, 2, 3]
    assert present == [[0, 1], [0, 1], [1, 2], [1, 3]], "a block stays until the next one comes; block 1 stays always"


def test_what_learns_stays_on_the_device() -> None:
    chain = Chain()
    chain.layers[0].weight.requires_grad_(False)
    BlockSwap(chain, 4, torch.device("cpu"))
    assert [layer.weight.numel() for layer in chain.layers] == [0, 9, 9, 9]


def test_swapped_blocks_are_spread_and_told_apart_from_other_layers() -> None:
    assert denoiser_blocks.spread(4, 12) == [1, 4, 7, 10]
    assert denoiser_blocks.spread(5, 5) == [0, 1, 2, 3, 4]
    shapes = true_shapes("z-image")
    assert len(memory.blocks(shapes)) == 34
    with torch.device("meta"):
        true = blocks(ZImageTransformer2DModel())
    assert [sum(weight.numel() for weight in block.parameters()) for block in true] == [
        sum(shape.count for shape in block.values()) for block in memory.blocks(shapes)
    ]


def config(**model: object) -> Config:
    return parse_config(
        {
            "data": {"path": "pictures"},
            "model": model,
            "train": {"gradient_checkpointing": True},
            "evaluation": {"scheduler": "own"},
        }
    )


def test_the_estimate_holds_three_of_the_swapped_blocks() -> None:
    shapes = true_shapes("z-image")

    def denoiser(count: int, *, on_gpu: bool = True) -> float:
        footprint = memory.trainer_footprint(shapes, config(blocks_to_swap=count), "bf16", on_gpu=on_gpu)
        return footprint.parts["denoiser"]

    block = sum(shape.count for shape in memory.blocks(shapes)[10].values()) * 2
    assert denoiser(0) - denoiser(16) == pytest.approx(13 * block, rel=0.01)
    assert denoiser(2) == denoiser(0), "so few are on the card at once anyway"
    assert denoiser(16, on_gpu=False) == denoiser(0, on_gpu=False), "a CPU's memory is the host's"


def test_where_memory_is_short_swapping_is_advised() -> None:
    whole = config()
    card = precheck.Place("GPU 0", 16.0 * GIB, precheck.Gpu(0, "a card", 0, 16 * 1024, (8, 0)))
    host = precheck.Place("this machine", 64.0 * GIB)
    (share,) = precheck.shares(true_shapes("z-image"), whole, [card, host], with_evaluator=False)
    tight = precheck.Place("GPU 0", 8.0 * GIB, card.gpu)
    (short,) = precheck.shares(true_shapes("z-image"), whole, [tight, host], with_evaluator=False)
    assert share.advice == ()
    assert any("model.blocks_to_swap=25 train.gradient_checkpointing=true" in text for text in short.advice)


def test_what_cannot_be_swapped_is_refused_with_every_reason() -> None:
    tree = {
        "data": {"path": "pictures"},
        "model": {"blocks_to_swap": 4, "quantization": "4bit"},
        "train": {"torch_compile": True},
    }
    with pytest.raises(ConfigError) as raised:
        parse_config(tree)
    for reason in ("gradient_checkpointing = true", "train.torch_compile", "model.quantization = '4bit'"):
        assert reason in str(raised.value)
    with pytest.raises(ConfigError, match=r"SDXL's denoiser is no chain of blocks"):
        suitability.require(config(blocks_to_swap=4), FAMILIES["sdxl"])
    with pytest.raises(ConfigError, match=r"the denoiser has 34 blocks"):
        denoiser_blocks.require(35, len(memory.blocks(true_shapes("z-image"))), "model")


def test_a_run_that_would_swap_more_blocks_than_there_are_is_refused_before_it_is_made(
    tmp_path: Path, z_image: Path, pictures: Path
) -> None:
    settings = {"model": {"blocks_to_swap": 5}, "train": TRAIN}
    with pytest.raises(ConfigError, match="has 4 blocks"):
        precheck.examine(tiny_config(tmp_path, "run", z_image, pictures, settings))
