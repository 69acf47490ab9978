import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from safetensors import safe_open
from transformers import CLIPModel, CLIPProcessor, CLIPTokenizer

from pocket import CLIP, STABLE_DIFFUSION
from pocket.lessons.garments import Garment, catalogue, render
from pocket.lessons.patterns import COLOURS

FILES = [path for folder in (STABLE_DIFFUSION, CLIP) for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    loaded = StableDiffusionPipeline.from_pretrained(STABLE_DIFFUSION, dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture(scope="module")
def clip() -> CLIPModel:
    return CLIPModel.from_pretrained(CLIP, dtype=torch.float32).eval()


def test_both_folders_together_are_at_most_24_mib():
    assert 1 < sum(path.stat().st_size for path in FILES) / 2**20 <= 24


def test_folders_hold_only_json_and_half_precision_safetensors():
    assert {path.suffix for path in FILES} == {".json", ".safetensors"}
    for path in FILES:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as tensors:
                assert {tensors.get_tensor(key).dtype for key in tensors.keys()} <= {torch.float16, torch.int64}, path  # noqa: SIM118


def test_pipeline_draws_a_picture_that_its_seed_determines(pipeline: StableDiffusionPipeline):
    def draw() -> np.ndarray:
        generator = torch.Generator().manual_seed(0)
        return pipeline(
            "a photo of a red plain dress", num_inference_steps=4, generator=generator, output_type="np"
        ).images

    first = draw()
    assert first.shape == (1, 128, 128, 3)
    assert np.array_equal(first, draw())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_pipeline_runs_in_reduced_precision(dtype: torch.dtype):
    pipeline = StableDiffusionPipeline.from_pretrained(STABLE_DIFFUSION, dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    images = pipeline("a blue coat", num_inference_steps=2, generator=generator, output_type="np").images
    assert np.isfinite(images).all()
    assert images.std() > 0.05


def test_scheduler_settings_that_training_needs_survive(pipeline: StableDiffusionPipeline):
    config = DDPMScheduler.from_config(pipeline.scheduler.config).config
    assert config["prediction_type"] == "v_prediction"
    assert config["clip_sample"] is False


@torch.no_grad()
def test_latents_are_normal_per_channel_and_decode_to_the_picture(pipeline: StableDiffusionPipeline):
    pictures = [np.asarray(render(garment, seed)[0]) for seed, garment in enumerate(catalogue()[::21])]
    pictures_BCHW = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
    latents = pipeline.vae.encode(pictures_BCHW).latent_dist.mean
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.25
    assert (latents.std(dim=(0, 2, 3)) - 1).abs().max() < 0.25
    assert (pipeline.vae.decode(latents).sample - pictures_BCHW).abs().mean() < 0.08


def test_text_encoder_is_the_clips_text_tower(pipeline: StableDiffusionPipeline, clip: CLIPModel):
    for ours, theirs in zip(pipeline.text_encoder.parameters(), clip.text_model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_clip_names_the_colour_of_a_plain_garment(clip: CLIPModel):
    processor = CLIPProcessor.from_pretrained(CLIP)
    colours = list(COLOURS)
    captions = [Garment("hoodie", colour, "plain").caption() for colour in colours]
    pictures = [render(Garment("hoodie", colour, "plain"), seed=99)[0] for colour in colours]
    inputs = processor(text=captions, images=pictures, return_tensors="pt", padding=True)
    named = clip(**inputs).logits_per_image.argmax(dim=1).tolist()
    assert sum(index == right for right, index in enumerate(named)) >= len(colours) - 1


def test_tokenizer_returns_what_it_was_given():
    tokenizer = CLIPTokenizer.from_pretrained(STABLE_DIFFUSION / "tokenizer")
    for text in ("a photo of an orange dotted hoodie", "a turquoise tartan kimono", "café 42"):
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True).replace(" ", "") == text.replace(
            " ", ""
        )
    assert tokenizer.model_max_length == 32
