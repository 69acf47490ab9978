"""Activation checkpointing on the tiny model: the same gradients, also through text encoders, for less memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from shared.config.schema import LoraConfig, ModelConfig, TrainConfig
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora
from tasks.text_to_image.training import compute


def adapted(tiny_model: Path, settings: TrainConfig) -> tuple[Model, dict[str, nn.Module]]:
    """The tiny model in training mode, with an adapter that has learnt something already."""
    model = loading.load_model(ModelConfig(path=str(tiny_model)), "fp32")
    lora_settings = LoraConfig(rank=2, lora_alpha=2, text_encoder=True, dropout=0.3)
    parts = lora.adapted(model, lora_settings)
    torch.manual_seed(0)
    lora.attach(parts, lora_settings, model.family)
    for part in parts.values():
        for parameter in lora.parameters(part):
            nn.init.normal_(parameter, std=0.1)
        part.train()
    compute.configure(parts, settings)
    return model, parts


def gradients(model: Model, parts: dict[str, nn.Module], saved: list[int]) -> dict[str, torch.Tensor]:
    """Of a scalar of the denoiser's output; appends the number of values kept for the backward pass."""
    torch.manual_seed(1)
    kept: set[int] = set()
    sizes: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, nn.Parameter) and tensor.data_ptr() not in kept:
            kept.add(tensor.data_ptr())
            sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        text = model.encode_captions(["a red coat", "shoes"])
        output = model.predict(torch.randn(2, 4, 8, 8), torch.tensor([3, 700]), text)
    saved.append(sum(sizes))
    output.square().mean().backward()
    return {
        f"{name}.{key}": parameter.grad
        for name, part in parts.items()
        for key, parameter in part.named_parameters()
        if parameter.requires_grad and parameter.grad is not None
    }


@pytest.fixture(scope="module")
def plain(tiny_model: Path) -> tuple[dict[str, torch.Tensor], int]:
    saved: list[int] = []
    return gradients(*adapted(tiny_model, TrainConfig()), saved), saved[0]


def test_recomputed_activations_give_the_same_gradients_and_need_less_memory(
    tiny_model: Path, plain: tuple[dict[str, torch.Tensor], int]
) -> None:
    """With dropout: the second forward pass must draw what the first one drew."""
    expected, kept = plain
    saved: list[int] = []
    found = gradients(*adapted(tiny_model, TrainConfig(gradient_checkpointing=True)), saved)
    assert found.keys() == expected.keys()
    assert any(name.startswith("text_encoder.") for name in found)
    for name, gradient in expected.items():
        assert gradient.abs().max() > 0, name
        assert torch.allclose(found[name], gradient, rtol=1e-4, atol=1e-7), name
    assert saved[0] < 0.6 * kept


def test_compiling_renames_nothing(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, parts = adapted(tiny_model, TrainConfig())
    names = list(parts["unet"].state_dict())
    compiled: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda call, **keywords: compiled.append(call) or call)
    _, parts = adapted(tiny_model, TrainConfig(torch_compile=True))
    assert [call.__self__ for call in compiled] == [parts["unet"]]
    assert list(parts["unet"].state_dict()) == names
    assert lora.state(parts).keys() == lora.shapes(parts).keys()
