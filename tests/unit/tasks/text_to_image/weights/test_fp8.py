"""Frozen weights in 8-bit floats: what is narrow, what stays wide, and how near the gradients stay."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel, ZImageTransformer2DModel
from torch import nn

from shared.config.loading import parse_config
from shared.errors import ConfigError
from tasks.text_to_image.families import quantization
from tasks.text_to_image.models import memory
from tasks.text_to_image.weights.fp8 import cast_weights
from tests.true_shapes import UNETS, true_shapes
from tests.unit.tasks.text_to_image.weights.conftest import Run, Runs, assert_equal

FP8 = torch.float8_e4m3fn


@pytest.fixture(scope="module")
def narrow(runs: Runs) -> Run:
    run = runs(quantization="fp8")
    run.step()
    return run


def test_a_step_is_near_that_of_wide_weights(narrow: Run, runs: Runs) -> None:
    """B is zero at first, so that after one step of AdamW it shows the gradient's signs; its moments, the gradient."""
    wide = runs()
    wide.step()

    def moments(run: Run) -> torch.Tensor:
        states = run.learner.optimizer.optimizer.state.values()
        return torch.cat([state["exp_avg"].flatten() for state in states])

    assert 0.98 < torch.cosine_similarity(moments(wide), moments(narrow), dim=0) < 1
    assert narrow.losses[0] == pytest.approx(wide.losses[0], rel=0.02)
    assert narrow.losses != wide.losses


def test_matrices_are_narrow_between_steps_and_what_learns_is_not(narrow: Run, runs: Runs) -> None:
    denoiser = narrow.training.model.denoiser
    dtypes = {name: weight.dtype for name, weight in denoiser.named_parameters()}
    assert dtypes["layers.0.attention.to_q.base_layer.weight"] == FP8
    assert dtypes["layers.0.attention.norm_q.weight"] == torch.float32
    assert dtypes["t_embedder.mlp.0.weight"] == torch.float32
    assert {weight.dtype for weight in denoiser.parameters() if weight.requires_grad} == {torch.float32}
    assert narrow.training.model.dtype == torch.float32, "what the layers compute in"
    assert_equal(runs(quantization="fp8").learner.weights(), runs().learner.weights())


def test_swapped_blocks_in_fp8_give_the_same_numbers(narrow: Run, runs: Runs) -> None:
    swapped = runs(quantization="fp8", blocks_to_swap=3)
    assert_equal(swapped.step().weights, narrow.learner.checkpoint().weights)
    assert swapped.losses == narrow.losses


def unet() -> nn.Module:
    return UNet2DConditionModel(**UNETS["sdxl"])


@pytest.mark.parametrize(("family", "build"), [("z-image", ZImageTransformer2DModel), ("sdxl", unet)])
def test_the_estimate_counts_the_bytes_of_the_true_denoiser(family: str, build: type[nn.Module]) -> None:
    with torch.device("meta"):
        denoiser = build().to(torch.bfloat16)
    cast_weights(denoiser, torch.bfloat16)
    true = sum(weight.numel() * weight.element_size() for weight in denoiser.parameters())
    settings = {"quantization": "fp8"}
    config = parse_config({"data": {"path": "pictures"}, "model": settings, "train": {"gradient_checkpointing": True}})
    footprint = memory.trainer_footprint(true_shapes(family), config, "bf16", on_gpu=True)
    assert footprint.parts["denoiser"] == pytest.approx(true, rel=0.02)


def test_it_needs_checkpointing_but_no_gpu_and_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = {"data": {"path": "pictures"}, "model": {"quantization": "fp8"}}
    with pytest.raises(ConfigError, match=r"model.quantization is fp8: it needs train.gradient_checkpointing = true"):
        parse_config(tree)
    config = parse_config({**tree, "train": {"gradient_checkpointing": True}})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    quantization.require(config.model, torch.device("cpu"))
