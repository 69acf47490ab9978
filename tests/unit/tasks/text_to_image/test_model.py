"""Each family through the one interface, against what diffusers' training scripts compute by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from diffusers import DDIMScheduler, PNDMScheduler
from diffusers.utils import logging as diffusers_logging

from shared.config.schema import EvaluationConfig, ModelConfig
from shared.data.buckets import Framing
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.models.base_model import family

FAMILIES = ["sd1", "sd2", "sdxl"]
PREDICTIONS = {"sd1": "epsilon", "sd2": "v_prediction", "sdxl": "epsilon"}


@pytest.fixture(scope="module")
def models(tiny_models: Path) -> dict[str, Model]:
    diffusers_logging.set_verbosity_error()
    return {name: loading.load_model(ModelConfig(path=str(tiny_models / name)), "fp32") for name in FAMILIES}


@pytest.fixture
def sdxl(models: dict[str, Model]) -> Model:
    return models["sdxl"]


def tokens(tokenizer: Any, captions: list[str]) -> torch.Tensor:
    return tokenizer(
        captions, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    ).input_ids


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_knows_its_family_as_its_folder_does(models: dict[str, Model], tiny_models: Path, name: str) -> None:
    assert models[name].family.name == name == family(str(tiny_models / name)).name
    assert models[name].objective.schedule.prediction_type == PREDICTIONS[name]
    assert models[name].objective.scheduler.config["prediction_type"] == PREDICTIONS[name]


@pytest.mark.parametrize("name", ["sd1", "sd2"])
def test_a_caption_is_the_text_encoders_last_state(models: dict[str, Model], name: str) -> None:
    model, captions = models[name], ["a red dress", ""]
    with torch.no_grad():
        expected = model.pipeline.text_encoder(tokens(model.pipeline.tokenizer, captions))[0]
        encoded = model.encode_captions(captions)
    assert encoded.keys() == {"encoder_hidden_states"}
    assert torch.allclose(encoded["encoder_hidden_states"], expected, atol=1e-6)


def test_an_sdxl_caption_is_both_encoders_penultimate_states_and_the_second_ones_pooled(
    sdxl: Model,
) -> None:
    captions, pipeline = ["a red dress", "a blue coat with buttons"], sdxl.pipeline
    with torch.no_grad():
        first = pipeline.text_encoder(tokens(pipeline.tokenizer, captions), output_hidden_states=True)
        second = pipeline.text_encoder_2(tokens(pipeline.tokenizer_2, captions), output_hidden_states=True)
        encoded = sdxl.encode_captions(captions)
    expected = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
    assert torch.allclose(encoded["encoder_hidden_states"], expected, atol=1e-6)
    assert torch.allclose(encoded["text_embeds"], second.text_embeds, atol=1e-6)


def test_an_empty_sdxl_caption_is_what_guidance_leads_away_from(sdxl: Model) -> None:
    with torch.no_grad():
        encoded, drawn = sdxl.encode_captions(["", "a red dress"]), sdxl.prompt_arguments(["a red dress"])
    assert not encoded["encoder_hidden_states"][0].any()
    assert not encoded["text_embeds"][0].any()
    assert torch.equal(encoded["encoder_hidden_states"][:1], drawn["negative_prompt_embeds"])
    assert torch.equal(encoded["text_embeds"][:1], drawn["negative_pooled_prompt_embeds"])
    assert torch.allclose(encoded["encoder_hidden_states"][1:], drawn["prompt_embeds"], atol=1e-6)
    assert torch.allclose(encoded["text_embeds"][1:], drawn["pooled_prompt_embeds"], atol=1e-6)


def test_sdxl_is_told_sizes_as_its_pipeline_tells_them(sdxl: Model) -> None:
    from tasks.text_to_image.data.batches import time_ids  # noqa: PLC0415

    framing = Framing((48, 64), (48, 64))
    told = sdxl.pipeline._get_add_time_ids(
        (64, 48), (0, 0), (64, 48), torch.float32, sdxl.pipeline.text_encoder_2.config.projection_dim
    )
    assert [time_ids(framing)] == told.tolist()
    assert time_ids(Framing((100, 50), (32, 32))) == [50, 100, 0, 16, 32, 32]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prediction_depends_on_every_condition(models: dict[str, Model], name: str) -> None:
    model, generator = models[name], torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    with torch.no_grad():
        text = model.encode_captions(["a red dress", "a blue coat"])
        conditions = {**text, "time_ids": torch.tensor([[32, 32, 0, 0, 32, 32]] * 2)}
        predicted = model.predict(latents, torch.tensor([10, 500]), conditions)
        assert predicted.shape == latents.shape
        for condition in text if name != "sdxl" else conditions:
            moved = {**conditions, condition: conditions[condition] + 1}
            assert not torch.equal(model.predict(latents, torch.tensor([10, 500]), moved), predicted)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("form", ["folder", "single file"])
def test_a_trainers_vae_is_never_rounded(
    models: dict[str, Model], tiny_models: Path, tiny_single_files: Path, precision: loading.Precision, form: str
) -> None:
    """Latents, and what the cache calls them, are the same whatever the precision of training is."""
    settings = ModelConfig(path=str(tiny_models / "sdxl"))
    if form == "single file":
        single = tiny_single_files / "sdxl.safetensors"
        settings = ModelConfig(path=str(single), single_file_config=str(tiny_models / "sdxl"))
    model, whole = loading.load_model(settings, precision, for_training=True), models["sdxl"]
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for found, expected in zip(model.encode_pixels(pixels), whole.encode_pixels(pixels), strict=True):
        assert torch.equal(found, expected)
    assert model.vae_digest() == whole.vae_digest()
    assert {model.dtype, *(encoder.dtype for encoder in model.text_encoders.values())} == {loading.DTYPES[precision]}


def test_latents_are_in_the_units_the_denoiser_learnt_on(models: dict[str, Model]) -> None:
    latents = torch.ones(1, 4, 2, 2)
    assert float(models["sdxl"].scale_latents(latents).mean()) == pytest.approx(0.13025)
    assert float(models["sd1"].scale_latents(latents).mean()) == pytest.approx(0.18215)


def test_an_sdxl_pipeline_in_fp16_decodes_in_fp32(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loading.load_model(ModelConfig(path=str(tiny_models / "sdxl")), "fp16")
    seen: list[torch.dtype] = []
    decode = model.pipeline.vae.decode

    def watched(latents: torch.Tensor, **options: Any) -> Any:
        seen.append(latents.dtype)
        return decode(latents, **options)

    monkeypatch.setattr(model.pipeline.vae, "decode", watched)
    picture = model.pipeline(
        **model.prompt_arguments(["a red dress"]), num_inference_steps=1, height=32, width=32, output_type="pt"
    ).images
    assert torch.isfinite(picture).all()
    assert seen == [torch.float32]


def test_the_sampler_of_zero_terminal_snr_begins_in_pure_noise(tiny_models: Path) -> None:
    model = loading.load_model(ModelConfig(path=str(tiny_models / "sd2")), "fp32", zero_terminal_snr=True)
    assert model.pipeline.scheduler.alphas_cumprod[-1] > 1e-3
    model.sample_with("own")
    scheduler = model.pipeline.scheduler
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [999, 749, 499, 249]
    assert float(scheduler.alphas_cumprod[-1]) == pytest.approx(0, abs=1e-6)
    assert scheduler.config.prediction_type == "v_prediction"
    assert model.objective.scheduler.alphas_cumprod[-1] == scheduler.alphas_cumprod[-1]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", get_args(EvaluationConfig.model_fields["scheduler"].annotation))
def test_every_sampler_draws_on_the_noise_schedule_of_the_model(tiny_models: Path, family: str, name: str) -> None:
    model = loading.load_model(ModelConfig(path=str(tiny_models / family)), "fp32")
    own = model.pipeline.scheduler
    model.sample_with(name)
    sampler = model.pipeline.scheduler
    assert type(sampler).__name__ == (type(own).__name__ if name == "own" else name)
    assert sampler.config.prediction_type == own.config.prediction_type
    assert not sampler.config.get("clip_sample", False)
    torch.testing.assert_close(sampler.alphas_cumprod, own.alphas_cumprod)
    drawn = model.pipeline(
        **model.prompt_arguments(["a red dress"]), num_inference_steps=3, height=32, width=32, output_type="pt"
    ).images
    assert torch.isfinite(drawn).all()


def test_a_sampler_that_cannot_begin_in_pure_noise_gives_way(tiny_models: Path) -> None:
    model = loading.load_model(ModelConfig(path=str(tiny_models / "sd2")), "fp32", zero_terminal_snr=True)
    model.pipeline.scheduler = PNDMScheduler.from_config(model.pipeline.scheduler.config)
    model.sample_with("own")
    assert isinstance(model.pipeline.scheduler, DDIMScheduler)
    assert model.pipeline.scheduler.config.rescale_betas_zero_snr
    assert not model.pipeline.scheduler.config.clip_sample
