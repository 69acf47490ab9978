"""FLUX.1, on a miniature of its true classes: what dev and schnell share, and what tells them apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers
from PIL import Image
from safetensors.torch import save_file

from shared.config.schema import EvaluationConfig, ModelConfig
from shared.errors import ModelError
from tasks.text_to_image.families import loading, source_latents
from tasks.text_to_image.families.flow.flux1 import Flux1Dev, Flux1Schnell
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.models import adaptable, base_model, lora_file, presets
from tasks.text_to_image.models.weights_header import TensorShape
from tests.tiny_flow import flux1

DEV, SCHNELL, KONTEXT = FAMILIES["flux1-dev"], FAMILIES["flux1-schnell"], FAMILIES["flux1-kontext"]


@pytest.fixture(scope="module")
def dev(tiny_flow: Callable[[str], Path]) -> Model:
    return loading.load_model(ModelConfig(path=str(tiny_flow(DEV.name))), "fp32")


@pytest.fixture(scope="module")
def schnell(tiny_flow: Callable[[str], Path]) -> Model:
    return loading.load_model(ModelConfig(path=str(tiny_flow(SCHNELL.name))), "fp32")


@pytest.mark.parametrize("guidance", [1.0, 3.5])
def test_one_step_of_its_pipeline_is_one_call_of_the_family_with_the_same_guidance(dev: Model, guidance: float) -> None:
    dev.guidance = guidance
    noise, drawn = one_step(dev, **dev.family.guidance_arguments(guidance))
    assert torch.allclose(noise - predicted(dev, noise), drawn, atol=1e-5)
    dev.guidance = guidance + 1
    assert not torch.allclose(noise - predicted(dev, noise), drawn, atol=1e-5), "the model is told the scale"


def test_schnell_is_told_no_guidance_and_reads_half_the_text(schnell: Model) -> None:
    noise, drawn = one_step(schnell)
    assert torch.allclose(noise - predicted(schnell, noise), drawn, atol=1e-5)
    assert schnell.encode_captions(["a"])["encoder_hidden_states"].shape[1] == 256


def test_captions_that_dev_has_encoded_are_not_taken_for_schnells(dev: Model, schnell: Model) -> None:
    assert dev.text_digest() != schnell.text_digest()


def test_text_is_encoded_as_its_pipeline_encodes_it(dev: Model) -> None:
    with torch.no_grad(), dev.text_encoders_on(torch.device("cpu")):
        ours = dev.family.encode_captions(dev, ["a red dress"])
        states, pooled, ids = dev.pipeline.encode_prompt("a red dress", None)
    assert torch.equal(ours["encoder_hidden_states"], states)
    assert torch.equal(ours["pooled_projections"], pooled)
    assert (states.shape[1], ids.any()) == (512, False)


def test_a_file_of_the_transformer_is_told_by_its_authors_names(tmp_path: Path) -> None:
    for build, family, prefix in ((flux1.dev, DEV, "model.diffusion_model."), (flux1.schnell, SCHNELL, "")):
        file = tmp_path / f"{family.name}.safetensors"
        flux1.write_file(build().transformer, file, prefix)
        assert base_model.family(str(file)) is family
        assert base_model.size_multiple(ModelConfig(path=str(file))) == 16
    scaled = {
        "double_blocks.0.img_attn.qkv.weight",
        "single_blocks.0.modulation.lin.weight",
        "guidance_in.in_layer.weight",
    }
    tensors = {name: torch.ones(1) for name in (*scaled, "double_blocks.0.img_attn.qkv.scale_weight")}
    save_file(tensors, tmp_path / "fp8.safetensors")
    with pytest.raises(ModelError, match="8 bits with scales of their own"):
        base_model.family(str(tmp_path / "fp8.safetensors"))


def test_the_names_in_such_a_file_are_read_as_diffusers_reads_them() -> None:
    """On the true shapes: diffusers' reader takes no other width."""
    with torch.device("meta"):
        transformer = flux1.true_parts()["transformer"]
    theirs = flux1.authors_file(transformer)
    expected = {name: tuple(value.shape) for name, value in transformer.state_dict().items()}
    converted = convert_flux_transformer_checkpoint_to_diffusers(dict(theirs))
    assert {name: tuple(value.shape) for name, value in converted.items()} == expected
    header = {
        f"model.diffusion_model.{name}": TensorShape(tuple(value.shape), "BF16") for name, value in theirs.items()
    }
    found = DEV.tensors_of_file(header)["transformer"]
    assert {name: tensor.shape for name, tensor in found.items()} == expected


def test_each_takes_the_loras_of_the_other(tmp_path: Path, dev: Model, schnell: Model) -> None:
    module = "transformer.single_transformer_blocks.0.attn.to_q"
    halves = {f"{module}.lora_A.weight": torch.ones(2, 32), f"{module}.lora_B.weight": torch.ones(32, 2)}
    save_file(halves, tmp_path / "lora.safetensors")
    found = lora_file.look(tmp_path / "lora.safetensors")
    assert found.family is DEV
    for family in (DEV, SCHNELL):
        assert adaptable.misfit(found, family, None) == ""
    assert (
        adaptable.misfit(found, FAMILIES["z-image"], None) == "it is a LoRA for FLUX.1 dev, the base model is Z-Image"
    )


def test_a_distilled_model_is_trained_with_a_warning_and_drawn_in_four_steps() -> None:
    told = SCHNELL.caution("black-forest-labs/FLUX.1-schnell", EvaluationConfig())
    assert told
    assert "train black-forest-labs/FLUX.1-dev and draw with the distilled model" in told
    assert "evaluation.guidance_scale is 7" in told
    assert DEV.caution("black-forest-labs/FLUX.1-dev", EvaluationConfig()) is None
    drawing = presets.recommend(SCHNELL, None, "black-forest-labs/FLUX.1-schnell").choices
    assert drawing["evaluation.num_inference_steps"].value == 4
    assert drawing["evaluation.guidance_scale"].value == 1.0


def test_hub_ids_and_headers_are_told_apart() -> None:
    assert base_model.guess_family("black-forest-labs/FLUX.1-dev") is DEV
    assert base_model.guess_family("black-forest-labs/FLUX.1-schnell") is SCHNELL
    assert [type(family) for family in (DEV, SCHNELL)] == [Flux1Dev, Flux1Schnell]
    assert DEV.header("flow")["modelspec.architecture"] == "flux-1-dev/lora"
    assert SCHNELL.header("flow") == {
        "modelspec.architecture": "flux-1-schnell/lora",
        "ss_base_model_version": "flux1",
    }


def one_step(model: Model, **guidance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise and what the pipeline makes of it in one step from σ = 1 to 0. (1, 4, 8, 8)."""
    pipeline, noise = model.pipeline, torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        drawn = pipeline(
            **model.prompt_arguments(["a red dress"]),
            latents=pipeline._pack_latents(noise, 1, 4, 8, 8),
            num_inference_steps=1,
            height=32,
            width=32,
            output_type="latent",
            return_dict=False,
            **guidance,
        )[0]
    return noise, pipeline._unpack_latents(drawn, 32, 32, model.pixels_per_latent)


def predicted(model: Model, noise: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.predict(noise, torch.ones(1), model.encode_captions(["a red dress"]))


def test_a_source_follows_the_picture_as_in_the_pipeline_that_edits(tiny_flow: Callable[[str], Path]) -> None:
    """A picture that is not square, and a source of another shape."""
    model = loading.load_model(ModelConfig(path=str(tiny_flow(KONTEXT.name))), "fp32")
    model.guidance = 2.5
    source = Image.radial_gradient("L").convert("RGB").resize((16, 48))
    noise = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        drawn = model.pipeline(
            **model.prompt_arguments(["turn it red"]),
            **model.family.source_arguments([source], (48, 32)),
            **model.family.guidance_arguments(2.5),
            latents=model.pipeline._pack_latents(noise, 1, 4, 8, 12),
            num_inference_steps=1,
            height=32,
            width=48,
            output_type="latent",
            return_dict=False,
        )[0]
        drawn = model.pipeline._unpack_latents(drawn, 32, 48, model.pixels_per_latent)
        pixels = model.pipeline.image_processor.preprocess(source)
        latents = model.scale_latents(model.encode_pixels(pixels)[0])
        text = model.encode_captions(["turn it red"])
        ours = model.predict(noise, torch.ones(1), text | source_latents.named([latents]))
        alone = model.predict(noise, torch.ones(1), text)
    assert torch.allclose(noise - ours, drawn, atol=1e-5)
    assert not torch.allclose(noise - alone, drawn, atol=1e-5), "it sees the source"


def test_the_editing_model_is_told_by_its_pipeline_or_the_name_of_its_file(tmp_path: Path) -> None:
    for name, family in (("flux1-kontext-dev", KONTEXT), ("flux1-dev", DEV)):
        file = tmp_path / f"{name}.safetensors"
        flux1.write_file(flux1.dev().transformer, file)
        assert base_model.family(str(file)) is family
    assert base_model.guess_family("black-forest-labs/FLUX.1-Kontext-dev") is KONTEXT
    assert KONTEXT.takes_loras_of(DEV)
    assert DEV.takes_loras_of(KONTEXT)
    assert KONTEXT.header("flow")["ss_base_model_version"] == "flux_kontext"
