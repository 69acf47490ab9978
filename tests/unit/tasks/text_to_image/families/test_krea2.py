"""Krea 2, on a miniature of its true classes: what it computes and recognises."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

from shared.config.schema import EvaluationConfig, LoraConfig, ModelConfig
from shared.errors import ModelError
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.flow.packing import pack
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora
from tasks.text_to_image.models import base_model, lora_file, memory
from tests.tiny_flow.krea2 import write_file

FAMILY = FAMILIES["krea2"]
HEIGHT, WIDTH = 32, 48
CAPTIONS = ["a red dress", "a long blue coat"]


@pytest.fixture(scope="module")
def folder(tiny_flow: Callable[[str], Path]) -> Path:
    return tiny_flow(FAMILY.name)


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return loading.load_model(ModelConfig(path=str(folder)), "fp32")


@pytest.fixture(scope="module")
def file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The transformer alone, in the layout of its authors."""
    path = tmp_path_factory.mktemp("file") / "raw.safetensors"
    write_file(DiffusionPipeline.from_pretrained(folder), path)
    return path


def noise() -> torch.Tensor:
    return torch.randn((1, 4, HEIGHT // 4, WIDTH // 4), generator=torch.Generator().manual_seed(0))


def test_a_hub_id_that_is_not_here_yet_is_guessed_by_its_name() -> None:
    assert base_model.guess_family("krea/Krea-2-Turbo") is FAMILY
    assert base_model.guess_family("black-forest-labs/FLUX.1-Krea-dev") is not FAMILY


def test_one_step_of_its_pipeline_is_one_call_of_the_family(model: Model) -> None:
    with torch.no_grad():
        velocity = model.predict(noise(), torch.ones(1), model.encode_captions(CAPTIONS[:1]))
        drawn = model.pipeline(
            **model.prompt_arguments(CAPTIONS[:1]),
            **FAMILY.guidance_arguments(1.0),
            latents=pack(noise()),
            num_inference_steps=1,
            height=HEIGHT,
            width=WIDTH,
            output_type="latent",
        ).images
    assert torch.allclose(drawn, pack(noise() - velocity), atol=1e-5)


def test_a_picture_is_a_video_of_one_frame_in_units_that_the_pipeline_turns_back(model: Model) -> None:
    pixels = torch.rand((1, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, std = model.encode_pixels(pixels)
    assert mean.shape == std.shape == noise().shape
    vae: Any = model.pipeline.vae
    assert torch.equal(mean, vae.encode(pixels.unsqueeze(2)).latent_dist.mean[:, :, 0])
    means, deviations = (torch.tensor(vae.config[key]).view(1, -1, 1, 1) for key in ("latents_mean", "latents_std"))
    assert torch.allclose(model.scale_latents(mean) * deviations + means, mean, atol=1e-6)


def test_captions_are_kept_without_padding_and_compute_as_the_pipelines_padded_ones(model: Model) -> None:
    with torch.no_grad():
        texts = [{name: value[0] for name, value in model.encode_captions([text]).items()} for text in CAPTIONS]
        assert texts[0]["hidden_states"].shape[0] == int(texts[0]["lengths"]) < 150
        noisy, sigmas = noise().expand(2, -1, -1, -1), torch.tensor([0.3, 0.8])
        ours = model.predict(noisy, sigmas, model.collate(texts))
        with model.text_encoders_on(torch.device("cpu")):
            states, used = model.pipeline.encode_prompt(prompt=CAPTIONS)
        assert used.shape[1] > 500
        padded = {"hidden_states": states, "lengths": torch.tensor([states.shape[1]] * 2)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tasks.text_to_image.families.flow.krea2.mask", lambda conditioning: used)
            theirs = model.predict(noisy, sigmas, padded)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_prompts_and_negative_prompts_of_other_lengths_are_drawn_together(model: Model, folder: Path) -> None:
    plain: Any = DiffusionPipeline.from_pretrained(folder)
    plain.set_progress_bar_config(disable=True)
    settings: dict[str, Any] = {"num_inference_steps": 2, "height": HEIGHT, "width": WIDTH, "output_type": "pt"}

    def drawn(pipeline: Any, **prompts: Any) -> torch.Tensor:
        return pipeline(**prompts, **settings, guidance_scale=2.0, generator=torch.Generator().manual_seed(1)).images

    with torch.no_grad():
        ours = drawn(model.pipeline, **model.prompt_arguments(CAPTIONS, ["", "an ugly, blurry picture of a shoe"]))
        theirs = drawn(plain, prompt=CAPTIONS, negative_prompt=["", "an ugly, blurry picture of a shoe"])
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_all_is_every_matrix_which_its_authors_adapt(model: Model, tmp_path: Path) -> None:
    matrices = {name for name, module in model.denoiser.named_modules() if isinstance(module, torch.nn.Linear)}
    shapes = lora.expected_shapes(model, LoraConfig.model_validate({"rank": 1, "target_modules": "all"}))
    assert {key.partition(".lora_")[0].removeprefix("transformer.") for key in shapes} == matrices
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, tmp_path / "lora.safetensors")
    assert lora_file.look(tmp_path / "lora.safetensors").family is FAMILY


def test_a_file_of_the_transformer_is_completed_from_a_folder(folder: Path, file: Path, model: Model) -> None:
    assert base_model.family(str(file)) is FAMILY
    assert base_model.size_multiple(ModelConfig(path=str(file))) == 16
    settings = ModelConfig(path=str(file), single_file_config=str(folder))
    ours = loading.load_model(settings, "fp32").denoiser.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in model.denoiser.state_dict().items())
    shapes, expected = memory.read_shapes(str(file), described=str(folder)), memory.read_shapes(str(folder))
    assert shapes
    assert expected
    for preset in ("attention", "all"):
        adapter = LoraConfig.model_validate({"target_modules": preset})
        assert memory.adapter_parameters(shapes, adapter) == memory.adapter_parameters(expected, adapter) > 0
    assert shapes.weights("transformer") == expected.weights("transformer")
    save_file(load_file(file) | {"blocks.0.attn.wq.weight_scale": torch.ones(1)}, file.with_name("fp8.safetensors"))
    with pytest.raises(ModelError, match="8 bits with scales of their own"):
        base_model.family(str(file.with_name("fp8.safetensors")))


def test_turbo_is_trained_with_a_warning(folder: Path, tmp_path: Path) -> None:
    told = FAMILY.caution("krea/Krea-2-Turbo", EvaluationConfig())
    assert told
    assert "distilled to draw in 8 steps without guidance" in told
    assert "train krea/Krea-2-Raw" in told
    assert FAMILY.caution(str(folder), EvaluationConfig()) is None
    shutil.copytree(folder, tmp_path / "raw")
    index = tmp_path / "raw" / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "is_distilled": True}))
    assert FAMILY.caution(str(tmp_path / "raw"), EvaluationConfig()), "its folder says so, whatever it is called"
