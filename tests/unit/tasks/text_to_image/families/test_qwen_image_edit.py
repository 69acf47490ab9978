"""Qwen-Image-Edit, on a miniature of its true classes: transformer and text encoder both see the source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageChops

from shared.config.loading import parse_config
from shared.config.schema import DataConfig, ModelConfig
from shared.data import prompt_file
from shared.errors import ConfigError, ModelError
from tasks.text_to_image.evaluation.image_generator import ImageGenerator, jobs
from tasks.text_to_image.families import loading, source_latents
from tasks.text_to_image.families.flow.packing import pack, unpack
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.models import base_model, suitability
from tests.tiny_flow import plain, qwen_image

EDIT, QWEN = FAMILIES["qwen-image-edit"], FAMILIES["qwen-image"]
SOURCE = Image.radial_gradient("L").convert("RGB").resize((832, 1248))
OTHER = Image.linear_gradient("L").convert("RGB").resize((832, 1248))


@pytest.fixture(scope="module")
def folder(tiny_flow: Callable[[str], Path]) -> Path:
    return tiny_flow(EDIT.name)


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return loading.load_model(ModelConfig(path=str(folder)), "fp32")


def test_an_instruction_is_read_with_its_source_as_the_pipeline_reads_it(model: Model, folder: Path) -> None:
    pipeline: Any = plain(folder)
    with torch.no_grad():
        ours = model.encode_captions(["turn it red", "blue"], [[SOURCE], [OTHER]])
        for index, (text, source) in enumerate((("turn it red", SOURCE), ("blue", OTHER))):
            theirs, _ = pipeline.encode_prompt([text], source)
            states = ours["hidden_states"][index, : int(ours["lengths"][index])]
            assert torch.allclose(states, theirs[0], atol=1e-5)
        again = model.encode_captions(["blue"], [[SOURCE]])["hidden_states"]
    assert not torch.allclose(again[0], ours["hidden_states"][1, : again.shape[1]], atol=1e-3), "of another source"


def test_one_step_of_its_pipeline_is_one_call_of_the_family(model: Model) -> None:
    """On a picture that is not square, with a source of another shape."""
    noise, after = torch.randn(1, 4, 4, 6, generator=torch.Generator().manual_seed(0)), list[torch.Tensor]()

    def keep(pipeline: Any, step: int, timestep: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        after.append(unpack(state["latents"], 4, 6))
        return state

    with torch.no_grad():
        pixels = model.pipeline.image_processor.preprocess(SOURCE)
        seen = source_latents.named([model.scale_latents(model.encode_pixels(pixels)[0])])
        text = model.encode_captions(["turn it red"], [[SOURCE]])
        velocity = model.predict(noise, torch.ones(1), text | seen)
        alone = model.predict(noise, torch.ones(1), text)
    model.pipeline(
        **(model.prompt_arguments(["turn it red"], sources=[[SOURCE]]) | model.family.guidance_arguments(1.0)),
        **model.family.source_arguments([SOURCE], (96, 64)),
        latents=pack(noise),
        num_inference_steps=2,
        height=64,
        width=96,
        output_type="latent",
        callback_on_step_end=keep,
    )
    span = 1 - model.pipeline.scheduler.sigmas[1]
    assert torch.allclose(noise - span * velocity, after[0], atol=1e-4)
    assert not torch.allclose(noise - span * alone, after[0], atol=1e-3), "it sees the source"


def test_a_picture_is_drawn_as_plain_diffusers_draws_it(model: Model, folder: Path) -> None:
    tree: dict[str, Any] = {"data": {"path": "p"}, "evaluation": {"num_seeds": 1, "num_inference_steps": 2}}
    settings = parse_config(tree).evaluation.model_copy(update={"guidance_scale": 3.0})
    asked = jobs({"a": "turn it red"}, {"a": (64, 64)}, settings, sources={"a": (SOURCE,)})
    [[ours]] = list(ImageGenerator(model, None, settings, 64).draw(asked))
    theirs = plain(folder)(
        image=SOURCE,
        prompt=["turn it red"],
        negative_prompt=[""],
        true_cfg_scale=3.0,
        num_inference_steps=2,
        generator=[torch.Generator().manual_seed(asked[0].seed)],
        height=64,
        width=64,
    ).images[0]
    extremes: Any = ImageChops.difference(ours, theirs).getextrema()
    assert max(high for _, high in extremes) == 0


def test_sources_have_the_sizes_to_which_the_pipeline_brings_them(model: Model) -> None:
    sizes = model.family.source_sizes(DataConfig(path="p"), 16)
    assert {(1024, 1024), (832, 1248), (512, 2048)} <= set(sizes)
    assert all(width % 32 == height % 32 == 0 for width, height in sizes)
    assert all(0.9 < width * height / 1024**2 < 1.1 for width, height in sizes)
    assert model.family.source_sizes(DataConfig(path="p", buckets=False), 16) == [(1024, 1024)]


def test_prompts_without_a_source_are_refused(model: Model) -> None:
    tree: dict[str, Any] = {"data": {"path": "p", "sources": "files"}}
    tree["evaluation"] = {"probes": 4, "scheduler": "own"}
    with pytest.raises(
        ConfigError, match=r"evaluation\.probes is 4, but Qwen-Image-Edit draws from sources"
    ) as refused:
        suitability.require(parse_config(tree), EDIT)
    assert refused.value.hint == "remove evaluation.probes"
    with pytest.raises(ConfigError, match="line 1: it has no source, and Qwen-Image-Edit draws from sources only"):
        prompt_file.parse("a red dress", "mine.txt", suits=suitability.own_prompts(EDIT))
    settings = parse_config(tree).evaluation
    asked = jobs({"asked-01": "a red dress"}, {"asked-01": (64, 64)}, settings)
    with pytest.raises(ModelError, match="Qwen-Image-Edit draws from sources, and 'a red dress' has none"):
        list(ImageGenerator(model, None, settings, 64).draw(asked))


def test_it_is_told_by_its_pipeline_or_the_name_of_its_file(model: Model, tmp_path: Path) -> None:
    assert model.family is EDIT
    for name, family in (("qwen_image_edit_bf16", EDIT), ("qwen_image_bf16", QWEN)):
        qwen_image.write_file(model.pipeline, tmp_path / f"{name}.safetensors")
        assert base_model.family(str(tmp_path / f"{name}.safetensors")) is family
    assert base_model.guess_family("Qwen/Qwen-Image-Edit") is EDIT
    assert base_model.guess_family("Qwen/Qwen-Image-2512") is QWEN
    assert EDIT.takes_loras_of(QWEN)
    assert QWEN.takes_loras_of(EDIT)
    assert EDIT.header("flow")["ss_base_model_version"] == "qwen_image_edit"
