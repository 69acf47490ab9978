"""Qwen-Image 2.1, on a miniature of its true classes: what it computes and recognises."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import QwenImage21Pipeline
from safetensors.torch import load_file, save_file

from shared.config.schema import EvaluationConfig, LoraConfig, ModelConfig
from shared.errors import ModelError
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import fitted
from tasks.text_to_image.models import base_model, lora_file, memory
from tests.tiny_flow.qwen_image_21 import write_file

FAMILY = FAMILIES["qwen-image-2.1"]
HEIGHT, WIDTH = 32, 64
CAPTIONS = ["a red dress", "", "a long blue coat with many buttons, " * 30]


@pytest.fixture(scope="module")
def folder(tiny_flow: Callable[[str], Path]) -> Path:
    return tiny_flow(FAMILY.name)


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Any:
    """Of plain diffusers."""
    found: Any = QwenImage21Pipeline.from_pretrained(folder)
    found.set_progress_bar_config(disable=True)
    return found


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    """Frozen: tests attach no adapter to it."""
    return loading.load_model(ModelConfig(path=str(folder)), "fp32")


def noise() -> torch.Tensor:
    return torch.randn((1, 4, HEIGHT // 16, WIDTH // 16), generator=torch.Generator().manual_seed(0))


def test_captions_are_encoded_as_the_pipeline_does_without_its_padding(model: Model, pipeline: Any) -> None:
    with torch.no_grad():
        states, used, _ = pipeline.encode_prompt(CAPTIONS)
        ours = model.encode_captions(CAPTIONS)
    assert used[2].sum() > 1024, "the longest is cut off there"
    assert ours["lengths"].tolist() == [*used[:2].sum(dim=1).tolist(), 1024]
    for number, length in enumerate(ours["lengths"].tolist()):
        assert torch.allclose(ours["hidden_states"][number, :length], states[number, :length], atol=1e-5)


def test_one_step_of_its_pipeline_is_one_call_of_the_family(model: Model) -> None:
    with torch.no_grad():
        velocity = model.predict(noise(), torch.ones(1), model.encode_captions(CAPTIONS[:1]))
    after: list[torch.Tensor] = []

    def keep(pipeline: Any, step: int, timestep: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        after.append(state["latents"])
        return state

    model.pipeline(
        **model.prompt_arguments(CAPTIONS[:1]) | FAMILY.guidance_arguments(1.0),
        latents=noise().flatten(2).transpose(1, 2),
        num_inference_steps=2,
        height=HEIGHT,
        width=WIDTH,
        output_type="latent",
        callback_on_step_end=keep,
    )
    first, second = model.pipeline.scheduler.sigmas[:2]
    assert first == 1
    assert torch.allclose(after[0], (noise() - (1 - second) * velocity).flatten(2).transpose(1, 2), atol=1e-5)


def test_a_picture_is_opaque_and_in_units_that_the_pipeline_turns_back(model: Model) -> None:
    pixels = torch.rand((1, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, std = model.encode_pixels(pixels)
    assert mean.shape == std.shape == noise().shape
    vae: Any = model.pipeline.vae
    opaque = torch.cat((pixels, torch.ones(1, 1, HEIGHT, WIDTH)), dim=1)
    assert torch.equal(mean, vae.encode(opaque.unsqueeze(2)).latent_dist.mean[:, :, 0])
    means, deviations = (torch.tensor(vae.config[key]).view(1, -1, 1, 1) for key in ("latents_mean", "latents_std"))
    assert torch.allclose(model.scale_latents(mean) * deviations + means, mean, atol=1e-6)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_file_for_comfyui_is_completed_from_a_folder(
    prefix: str, folder: Path, model: Model, pipeline: Any, tmp_path: Path
) -> None:
    file = tmp_path / "qwen_image_2.1_bf16.safetensors"
    write_file(pipeline, file, prefix)
    settings = ModelConfig(path=str(file), single_file_config=str(folder))
    assert base_model.family(str(file)) is FAMILY
    assert base_model.size_multiple(ModelConfig(path=str(file))) == base_model.size_multiple(settings) == 32
    theirs = model.denoiser.state_dict()
    found = loading.load_model(settings, "fp32").denoiser.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in found.items())
    shapes, expected = memory.read_shapes(str(file), described=str(folder)), memory.read_shapes(str(folder))
    assert shapes
    assert expected
    adapter = LoraConfig.model_validate({"target_modules": "all"})
    assert memory.adapter_parameters(shapes, adapter) == memory.adapter_parameters(expected, adapter) > 0
    assert shapes.weights("transformer") == expected.weights("transformer")
    save_file(load_file(file) | {f"{prefix}img_in.comfy_quant": torch.ones(1)}, tmp_path / "int8.safetensors")
    with pytest.raises(ModelError, match="8 bits with scales of their own"):
        base_model.family(str(tmp_path / "int8.safetensors"))


@pytest.mark.parametrize(
    ("hub_id", "family"),
    [
        ("Qwen/Qwen-Image-2.1", "qwen-image-2.1"),
        ("Comfy-Org/Qwen-Image-2.1", "qwen-image-2.1"),
        ("Qwen/Qwen-Image-2512", "qwen-image"),
        ("Qwen/Qwen-Image", "qwen-image"),
    ],
)
def test_a_hub_ids_name_suggests_the_family(hub_id: str, family: str) -> None:
    assert base_model.guess_family(hub_id) is FAMILIES[family]


@pytest.mark.parametrize(
    ("module", "width", "family"),
    [
        ("0.img_mlp.gate_layer", 4096, "qwen-image-2.1"),
        ("8.attn.to_q", 4096, "qwen-image-2.1"),
        ("7.attn.to_q", 4096, None),
        ("8.attn.to_q", 3072, None),
        ("0.img_mlp.net.2", 3072, "qwen-image"),
    ],
)
def test_a_lora_is_recognised_by_its_modules(module: str, width: int, family: str | None, tmp_path: Path) -> None:
    name = f"transformer.transformer_blocks.{module}"
    weights = {f"{name}.lora_A.weight": torch.zeros(2, width), f"{name}.lora_B.weight": torch.zeros(width, 2)}
    save_file(weights, tmp_path / "lora.safetensors")
    assert lora_file.look(tmp_path / "lora.safetensors").family is (FAMILIES[family] if family else None)


@pytest.mark.parametrize("prefix", ["diffusion_model.", "transformer."])
def test_an_update_of_comfyuis_one_matrix_is_that_of_two_layers(prefix: str, model: Model, tmp_path: Path) -> None:
    A, B = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) for shape in ((2, 32), (192, 2)))
    name = f"{prefix}transformer_blocks.1.img_mlp.gate_up"
    save_file({f"{name}.lora_A.weight": A, f"{name}.lora_B.weight": B}, tmp_path / "lora.safetensors")
    file = lora_file.look(tmp_path / "lora.safetensors")
    assert file.family is FAMILY
    found = fitted.fit(file, fitted.base_of(model))
    layers = [f"transformer.transformer_blocks.1.img_mlp.{layer}" for layer in ("gate_layer", "proj")]
    assert [*found.scales] == layers
    added = [found.weights[f"{layer}.lora_B.weight"] @ found.weights[f"{layer}.lora_A.weight"] for layer in layers]
    assert torch.allclose(torch.cat(added), B @ A, atol=1e-5)


def test_turbo_is_told_by_its_noise_levels_and_trained_with_a_warning(folder: Path, tmp_path: Path) -> None:
    told = FAMILY.caution("Qwen/Qwen-Image-2.1-Turbo", EvaluationConfig())
    assert told
    assert "distilled to draw in 8 steps without guidance" in told
    assert "train Qwen/Qwen-Image-2.1 and" in told
    shutil.copytree(folder, tmp_path / "turbo")
    assert FAMILY.caution(str(tmp_path / "turbo"), EvaluationConfig()) is None, "its folder says more than its name"
    index = tmp_path / "turbo" / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "sample_sigmas": [1.0, 0.5]}))
    assert FAMILY.caution(str(tmp_path / "turbo"), EvaluationConfig())
