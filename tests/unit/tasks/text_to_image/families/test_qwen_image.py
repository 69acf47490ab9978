"""Qwen-Image, on a miniature of its true classes: captions of any length, pictures as videos, a guidance of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import QwenImagePipeline
from safetensors.torch import save_file

from shared.config.schema import LoraConfig, ModelConfig
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.flow.packing import pack, unpack
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora
from tasks.text_to_image.models import base_model, lora_file, memory
from tests.tiny_flow.qwen_image import write_file

FAMILY = FAMILIES["qwen-image"]
CAPTIONS = ["a red dress", "", "a long blue coat with many buttons, " * 20]


@pytest.fixture(scope="module")
def folder(tiny_flow: Callable[[str], Path]) -> Path:
    return tiny_flow("qwen-image")


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Any:
    """Of plain diffusers."""
    found: Any = QwenImagePipeline.from_pretrained(folder)
    found.set_progress_bar_config(disable=True)
    return found


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    """Frozen: tests attach no adapter to it."""
    return loading.load_model(ModelConfig(path=str(folder)), "fp32")


def test_captions_are_encoded_as_the_pipeline_does_without_the_template(model: Model, pipeline: Any) -> None:
    with torch.no_grad():
        encoded = model.family.encode_captions(pipeline_model(model, pipeline), CAPTIONS)
        states, mask = pipeline.encode_prompt(CAPTIONS, max_sequence_length=512)
    assert torch.allclose(encoded["hidden_states"], states, atol=1e-6)
    assert encoded["lengths"].tolist() == mask.sum(dim=1).tolist()
    assert states.shape[1] == 512, "the longest is cut off there"


def test_prompts_of_different_lengths_have_a_mask_and_lose_their_padding_in_another_batch(model: Model) -> None:
    together = model.prompt_arguments(["a red dress", "blue"])
    assert together["prompt_embeds_mask"].sum(dim=1).tolist() == [24, 17]
    texts = [
        {name: value[0] for name, value in model.encode_captions([text]).items()} for text in ("a red dress", "blue")
    ]
    padded = {name: value[1] for name, value in model.collate(texts).items()}
    again = model.collate([padded])
    assert torch.equal(again["hidden_states"][0], texts[1]["hidden_states"]), "its padding is gone again"


def test_one_step_of_its_pipeline_is_one_call_of_the_family(model: Model) -> None:
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        velocity = model.predict(noise, torch.ones(1), model.encode_captions(["a red dress"]))
    after = list[torch.Tensor]()

    def keep(pipeline: Any, step: int, timestep: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        after.append(unpack(state["latents"], 8, 8))
        return state

    model.pipeline(
        **model.prompt_arguments(["a red dress"]) | model.family.guidance_arguments(1.0),
        latents=pack(noise),
        num_inference_steps=2,
        height=32,
        width=32,
        output_type="latent",
        callback_on_step_end=keep,
    )
    first, second = model.pipeline.scheduler.sigmas[:2]
    assert first == 1
    assert torch.allclose(noise - (1 - second) * velocity, after[0], atol=1e-5)


def test_guidance_takes_effect_by_the_pipelines_own_name(model: Model) -> None:
    def drawn(scale: float) -> torch.Tensor:
        return model.pipeline(
            **model.prompt_arguments(["a red dress"]) | model.family.guidance_arguments(scale),
            generator=torch.Generator().manual_seed(0),
            num_inference_steps=2,
            height=32,
            width=32,
            output_type="pt",
            return_dict=False,
        )[0]

    assert not torch.equal(drawn(1.0), drawn(4.0))


def test_latents_come_back_from_the_denoisers_units_as_the_pipeline_turns_them(model: Model) -> None:
    mean, std = model.encode_pixels(torch.rand(1, 3, 32, 32) * 2 - 1)
    assert mean.shape == std.shape == (1, 4, 8, 8)
    config = model.pipeline.vae.config
    factors, means = (torch.tensor(config[key]).view(1, 4, 1, 1) for key in ("latents_std", "latents_mean"))
    assert torch.allclose(model.scale_latents(mean) * factors + means, mean, atol=1e-5)


def test_what_only_changes_captions_in_the_last_block_gets_no_adapter(model: Model) -> None:
    settings = LoraConfig.model_validate({"rank": 2, "target_modules": "all"})
    adapted = {name.removeprefix("transformer.transformer_blocks.") for name in modules(model, settings)}
    first = {name.removeprefix("0.") for name in adapted if name.startswith("0.")}
    last = {name.removeprefix("1.") for name in adapted if name.startswith("1.")}
    assert first - last == {"attn.add_q_proj", "attn.to_add_out", "txt_mlp.net.0.proj", "txt_mlp.net.2"}


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_file_of_the_transformer_is_completed_from_a_folder(
    prefix: str, folder: Path, model: Model, pipeline: Any, tmp_path: Path
) -> None:
    file = tmp_path / "qwen_image_bf16.safetensors"
    write_file(pipeline, file, prefix)
    assert base_model.family(str(file)) is FAMILY
    assert base_model.size_multiple(ModelConfig(path=str(file))) == 16
    found = loading.load_model(ModelConfig(path=str(file), single_file_config=str(folder)), "fp32")
    theirs = model.denoiser.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in found.denoiser.state_dict().items())
    assert memory.read_shapes(str(file), described=str(folder)) == memory.read_shapes(str(folder))


@pytest.mark.parametrize(
    ("hub_id", "is_own"),
    [
        ("Qwen/Qwen-Image", True),
        ("Qwen/Qwen-Image-2512", True),
        ("somebody/qwen_image-dresses", True),
        ("Qwen/Qwen-Image-Edit-2511", False),
        ("Qwen/Qwen-Image-Layered", False),
    ],
)
def test_a_hub_ids_name_suggests_the_family(hub_id: str, is_own: bool) -> None:
    assert (base_model.guess_family(hub_id) is FAMILY) == is_own


@pytest.mark.parametrize(
    ("module", "header", "is_own"),
    [
        ("0.img_mlp.net.2", {}, True),
        ("59.attn.to_q", {}, True),
        ("0.attn.to_q", {}, False),
        ("0.attn.to_q", {"modelspec.architecture": "Qwen-Image/lora"}, True),
        ("0.attn.to_q", {"ss_base_model_version": "qwen_image"}, True),
    ],
)
def test_a_lora_is_recognised_by_its_modules_or_its_header(
    module: str, header: dict[str, str], is_own: bool, tmp_path: Path
) -> None:
    name = f"transformer.transformer_blocks.{module}"
    weights = {f"{name}.lora_A.weight": torch.zeros(2, 3072), f"{name}.lora_B.weight": torch.zeros(3072, 2)}
    save_file(weights, tmp_path / "lora.safetensors", header)
    assert (lora_file.look(tmp_path / "lora.safetensors").family is FAMILY) == is_own


def pipeline_model(model: Model, pipeline: Any) -> Model:
    """With the text encoder of plain diffusers, which stays loaded."""
    return Model(model.family, pipeline, model.objective)


def modules(model: Model, settings: LoraConfig) -> list[str]:
    return lora.modules(lora.expected_shapes(model, settings))
