"""Qwen-Image-Edit-2509 and later, on a miniature of their true classes: several sources, small copies for the text
encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageChops

from shared.config.loading import parse_config
from shared.config.schema import ModelConfig
from tasks.text_to_image.evaluation.image_generator import ImageGenerator, jobs
from tasks.text_to_image.families import loading, source_latents
from tasks.text_to_image.families.flow.packing import pack, unpack
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.models import base_model
from tests.tiny_flow import plain, qwen_image

PLUS, EDIT = FAMILIES["qwen-image-edit-plus"], FAMILIES["qwen-image-edit"]
SOURCE = Image.radial_gradient("L").convert("RGB").resize((832, 1248))
OTHER = Image.linear_gradient("L").convert("RGB").resize((1024, 1024))


@pytest.fixture(scope="module")
def folder(tiny_flow: Callable[[str], Path]) -> Path:
    return tiny_flow(PLUS.name)


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return loading.load_model(ModelConfig(path=str(folder)), "fp32")


def test_instructions_are_read_with_small_copies_of_their_sources_as_the_pipeline_reads_them(
    model: Model, folder: Path
) -> None:
    pipeline: Any = plain(folder)
    asked = [("put it on", [SOURCE, OTHER]), ("turn it red", [OTHER])]
    with torch.no_grad():
        ours = model.encode_captions([text for text, _ in asked], [sources for _, sources in asked])
        for index, (text, sources) in enumerate(asked):
            small = [
                pipeline.image_processor.resize(source, *size)
                for source, size in zip(sources, [(480, 320), (384, 384)] if len(sources) > 1 else [(384, 384)],
                                        strict=True)
            ]  # fmt: skip
            theirs, _ = pipeline.encode_prompt([text], small)
            states = ours["hidden_states"][index, : int(ours["lengths"][index])]
            assert states.shape == theirs[0].shape
            assert torch.allclose(states, theirs[0], atol=1e-5)


def test_one_step_of_its_pipeline_is_one_call_of_the_family(model: Model) -> None:
    """On a picture that is not square, with two sources of other shapes."""
    noise, after = torch.randn(1, 4, 4, 6, generator=torch.Generator().manual_seed(0)), list[torch.Tensor]()

    def keep(pipeline: Any, step: int, timestep: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        after.append(unpack(state["latents"], 4, 6))
        return state

    sources = [SOURCE, OTHER]
    with torch.no_grad():
        pixels = [model.pipeline.image_processor.preprocess(source) for source in sources]
        seen = source_latents.named([model.scale_latents(model.encode_pixels(each)[0]) for each in pixels])
        text = model.encode_captions(["put it on"], [sources])
        velocity = model.predict(noise, torch.ones(1), text | seen)
    model.pipeline(
        **(model.prompt_arguments(["put it on"], sources=[sources]) | model.family.guidance_arguments(1.0)),
        **model.family.source_arguments(sources, (96, 64)),
        latents=pack(noise),
        num_inference_steps=2,
        height=64,
        width=96,
        output_type="latent",
        callback_on_step_end=keep,
    )
    span = 1 - model.pipeline.scheduler.sigmas[1]
    assert torch.allclose(noise - span * velocity, after[0], atol=1e-4)


def test_pictures_are_drawn_one_at_a_time_as_plain_diffusers_draws_them(model: Model, folder: Path) -> None:
    tree: dict[str, Any] = {"data": {"path": "p"}, "evaluation": {"num_seeds": 2, "num_inference_steps": 2}}
    settings = parse_config(tree).evaluation.model_copy(update={"guidance_scale": 3.0})
    asked = jobs({"a": "put it on"}, {"a": (64, 64)}, settings, sources={"a": (SOURCE, OTHER)})
    drawn = list(ImageGenerator(model, None, settings, 64).draw(asked))
    assert [len(pictures) for pictures in drawn] == [1, 1]
    theirs = plain(folder)(
        image=[SOURCE, OTHER],
        prompt=["put it on"],
        negative_prompt=[""],
        true_cfg_scale=3.0,
        num_inference_steps=2,
        generator=[torch.Generator().manual_seed(asked[1].seed)],
        height=64,
        width=64,
    ).images[0]
    extremes: Any = ImageChops.difference(drawn[1][0], theirs).getextrema()
    assert max(high for _, high in extremes) == 0


def test_it_is_told_from_the_earlier_one(model: Model, tmp_path: Path) -> None:
    assert model.family is PLUS
    for name, family in (("qwen_image_edit_2511_bf16", PLUS), ("qwen_image_edit_bf16", EDIT)):
        qwen_image.write_file(model.pipeline, tmp_path / f"{name}.safetensors")
        assert base_model.family(str(tmp_path / f"{name}.safetensors")) is family
    for hub_id in ("Qwen/Qwen-Image-Edit-2509", "Qwen/Qwen-Image-Edit-2511"):
        assert base_model.guess_family(hub_id) is PLUS
    assert PLUS.takes_loras_of(EDIT)
