"""SD3 and SD3.5, on miniatures of their true classes: three text encoders or two; one pipeline, three families."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from safetensors.torch import load_file, save_file

from shared.config.schema import LoraConfig, ModelConfig
from shared.errors import ModelError
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora
from tasks.text_to_image.models import base_model, lora_file, memory, suitability, tokens
from tests.conftest import tiny_config
from tests.tiny_flow.stable_diffusion_3 import OWN, build, write_file

MEDIUM, LARGE = FAMILIES["sd3.5-medium"], FAMILIES["sd3.5-large"]
CAPTIONS = ["a red dress", "", "a long blue coat with many buttons, " * 20]


@pytest.fixture(scope="module")
def folder(tiny_flow: Callable[[str], Path]) -> Path:
    return tiny_flow("sd3.5-medium")


@pytest.fixture(scope="module")
def without_t5(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a person saves a pipeline to need less memory."""
    path = tmp_path_factory.mktemp("models") / "without-t5"
    StableDiffusion3Pipeline.from_pretrained(folder, text_encoder_3=None, tokenizer_3=None).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its transformer alone, in the layout of its authors."""
    path = tmp_path_factory.mktemp("file") / "sd3.5_medium.safetensors"
    write_file(StableDiffusion3Pipeline.from_pretrained(folder), path)
    return path


def loaded(folder: Path) -> Model:
    return loading.load_model(ModelConfig(path=str(folder)), "fp32")


def plain(folder: Path) -> Any:
    lacking = {part: None for part in ("text_encoder_3", "tokenizer_3") if not (folder / part).is_dir()}
    return StableDiffusion3Pipeline.from_pretrained(folder, **lacking)


@pytest.mark.parametrize("which", ["folder", "without_t5"])
def test_captions_are_encoded_as_the_pipeline_does(which: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(which)
    pipeline = plain(path)
    with torch.no_grad():
        encoded = loaded(path).encode_captions(CAPTIONS)
        states, _, pooled, _ = pipeline.encode_prompt(CAPTIONS, None, None, do_classifier_free_guidance=False)
    assert torch.allclose(encoded["encoder_hidden_states"], states, atol=1e-6)
    assert torch.allclose(encoded["pooled_projections"], pooled, atol=1e-6)
    assert states.shape == (3, 32 + 256, 24), "the miniature's CLIPs read 32 tokens"


def test_a_pipeline_without_t5_is_whole_and_only_its_clips_read_a_caption(folder: Path, without_t5: Path) -> None:
    settings = ModelConfig(path=str(without_t5))
    assert base_model.identify(str(without_t5))["fingerprint"]
    assert base_model.family(str(without_t5)) is MEDIUM
    model = loaded(without_t5)
    lengths = tokens.measure(CAPTIONS, settings)
    assert lengths
    assert lengths.counts == model.token_lengths(CAPTIONS).counts
    assert (model.token_lengths(CAPTIONS).limit(75), lengths.choices) == (30, ())
    assert loaded(folder).token_lengths(CAPTIONS).limit(75) == 255
    assert model.text_digest() != loaded(folder).text_digest()
    shapes = memory.read_shapes(str(without_t5))
    assert shapes
    assert shapes.weights("text_encoder_3") == 0


def test_one_step_of_its_pipeline_is_one_call_of_the_family(folder: Path) -> None:
    """Its time is σ in thousandths."""
    model, noise = loaded(folder), torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        velocity = model.predict(noise, torch.ones(1), model.encode_captions(["a red dress"]))
    latents = model.pipeline(
        **model.prompt_arguments(["a red dress"]),
        latents=noise,
        num_inference_steps=1,
        guidance_scale=1,
        height=32,
        width=32,
        output_type="latent",
        return_dict=False,
    )[0]
    assert torch.allclose(noise - velocity, latents, atol=1e-5)


def test_the_vaes_units_are_those_the_pipeline_decodes_from(folder: Path) -> None:
    model, latents = loaded(folder), torch.randn(1, 4, 8, 8)
    config = model.pipeline.vae.config
    assert torch.allclose(
        model.scale_latents(latents) / config.scaling_factor + config.shift_factor, latents, atol=1e-6
    )


def test_the_last_captions_queries_get_no_adapter_and_the_second_attention_gets_one(folder: Path) -> None:
    model, settings = loaded(folder), LoraConfig.model_validate({"rank": 2, "target_modules": "attention"})
    adapted = lora.modules(lora.expected_shapes(model, settings))
    assert "transformer.transformer_blocks.0.attn.add_q_proj" in adapted
    assert "transformer.transformer_blocks.1.attn.add_q_proj" not in adapted
    assert "transformer.transformer_blocks.1.attn.add_k_proj" in adapted
    assert "transformer.transformer_blocks.0.attn2.to_out.0" in adapted


@pytest.mark.parametrize("name", OWN)
def test_the_families_are_told_apart_by_folder_and_by_file(name: str, tmp_path: Path) -> None:
    pipeline = build(name)
    pipeline.save_config(tmp_path)
    for part in ("transformer", "vae", "scheduler"):
        getattr(pipeline, part).save_config(tmp_path / part)
    write_file(pipeline, tmp_path / "file.safetensors")
    assert base_model.family(str(tmp_path)) is FAMILIES[name]
    assert base_model.family(str(tmp_path / "file.safetensors")) is FAMILIES[name]


@pytest.mark.parametrize(
    ("hub_id", "name"),
    [
        ("stabilityai/stable-diffusion-3.5-large", "sd3.5-large"),
        ("stabilityai/stable-diffusion-3.5-large-turbo", "sd3.5-large"),
        ("stabilityai/stable-diffusion-3.5-medium", "sd3.5-medium"),
        ("somebody/sd3.5_medium-dresses", "sd3.5-medium"),
        ("stabilityai/stable-diffusion-3-medium-diffusers", "sd3"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "sdxl"),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "sd1"),
    ],
)
def test_a_hub_ids_name_suggests_the_family(hub_id: str, name: str) -> None:
    assert base_model.guess_family(hub_id).name == name


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        ("stable-diffusion-v3.5-large/lora", "sd3.5-large"),
        ("stable-diffusion-v3.5-medium/lora", "sd3.5-medium"),
        ("stable-diffusion-v3-medium/lora", "sd3"),
        ("stable-diffusion-3-5-large/lora", "sd3.5-large"),
        ("stable-diffusion-3-medium/lora", "sd3"),
        ("stable-diffusion-3-m/lora", "sd3"),
    ],
)
def test_a_loras_header_names_the_family_in_stabilitys_words_and_in_kohyas(
    architecture: str, name: str, tmp_path: Path
) -> None:
    weights = {f"transformer.transformer_blocks.0.attn.to_q.lora_{side}.weight": torch.zeros(2, 2) for side in "AB"}
    save_file(weights, tmp_path / "lora.safetensors", {"modelspec.architecture": architecture})
    assert lora_file.look(tmp_path / "lora.safetensors").family is FAMILIES[name]
    if "-v3" in architecture:
        assert FAMILIES[name].header("flow")["modelspec.architecture"] == architecture


@pytest.mark.parametrize(
    ("module", "width", "family"),
    [("attn2.to_q", 1536, MEDIUM), ("attn.to_q", 2432, LARGE), ("attn.to_q", 1536, None), ("attn.to_q", 3072, None)],
)
def test_a_loras_modules_name_the_family_where_they_can(
    module: str, width: int, family: object, tmp_path: Path
) -> None:
    name = f"transformer.transformer_blocks.0.{module}"
    weights = {f"{name}.lora_A.weight": torch.zeros(2, width), f"{name}.lora_B.weight": torch.zeros(width, 2)}
    save_file(weights, tmp_path / "lora.safetensors")
    assert lora_file.look(tmp_path / "lora.safetensors").family is family


def test_a_file_of_the_transformer_is_completed_from_a_folder(folder: Path, file: Path) -> None:
    assert base_model.size_multiple(ModelConfig(path=str(file))) == 16
    settings = ModelConfig(path=str(file), single_file_config=str(folder))
    model, theirs = loading.load_model(settings, "fp32"), loaded(folder).denoiser.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in model.denoiser.state_dict().items())
    shapes, expected = memory.read_shapes(str(file), described=str(folder)), memory.read_shapes(str(folder))
    assert shapes
    assert expected
    blocks = [
        {name: tensor for name, tensor in found.components["transformer"].items() if "_blocks." in name}
        for found in (shapes, expected)
    ]
    assert blocks[0] == blocks[1]
    assert {part: shapes.weights(part) for part in MEDIUM.weighted_parts} == {
        part: expected.weights(part) for part in MEDIUM.weighted_parts
    }
    alone = memory.read_shapes(str(file))
    assert alone
    assert alone.weights("transformer") == expected.weights("transformer")


def test_what_a_file_holds_beside_the_transformer_is_not_read_and_the_user_is_told(
    folder: Path, file: Path, tmp_path: Path
) -> None:
    others = {
        "first_stage_model.decoder.conv_in.weight": torch.ones(1),
        "text_encoders.clip_l.transformer.text_model.final_layer_norm.weight": torch.ones(1),
    }
    save_file(load_file(file) | others, tmp_path / "all.safetensors")
    settings = ModelConfig(path=str(tmp_path / "all.safetensors"), single_file_config=str(folder))
    whole = f"all.safetensors holds VAE and text encoders too; those of {folder} are used instead"
    assert loading.load_model(settings, "fp32").notices == (whole,)
    alone = ModelConfig(path=str(file), single_file_config=str(folder))
    assert loading.load_model(alone, "fp32").notices == ()
    shapes, expected = memory.read_shapes(settings.path), memory.read_shapes(str(file))
    assert shapes == expected


def test_a_file_in_scaled_8_bits_is_refused_by_name(file: Path, tmp_path: Path) -> None:
    scale = {"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.scale_weight": torch.ones(1)}
    save_file(load_file(file) | scale, tmp_path / "fp8.safetensors")
    with pytest.raises(ModelError, match="8 bits with scales of their own"):
        base_model.family(str(tmp_path / "fp8.safetensors"))


def test_it_may_be_trained_in_fp16(folder: Path, pictures: Path, tmp_path: Path) -> None:
    sections: dict[str, dict[str, object]] = {"model": {"mixed_precision": "fp16"}, "evaluation": {"scheduler": "own"}}
    suitability.require(tiny_config(tmp_path, "run", folder, pictures, sections), MEDIUM)
