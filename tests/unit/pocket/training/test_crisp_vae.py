from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors import safe_open

from pocket import CLIP, STABLE_DIFFUSION, Z_IMAGE
from pocket.lessons.garments import concept, split_catalogue
from pocket.lessons.pictures import draw_garments, draw_now
from pocket.reports.round_trips import absolute_error
from pocket.training.vae import encode, reconstruct


@pytest.fixture(scope="module")
def vae() -> Any:
    return AutoencoderKL.from_pretrained(Z_IMAGE / "vae", torch_dtype=torch.float32).eval()


def test_all_weights_are_at_most_40_mib_and_the_vae_is_in_half_precision():
    files = [path for folder in (STABLE_DIFFUSION, CLIP, Z_IMAGE) for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) / 2**20 <= 40
    with safe_open(Z_IMAGE / "vae" / "diffusion_pytorch_model.safetensors", "pt") as tensors:
        assert {tensors.get_tensor(key).dtype for key in tensors.keys()} == {torch.float16}  # noqa: SIM118


def test_garments_and_tartans_survive_the_round_trip(vae: AutoencoderKL):
    garments = draw_now(draw_garments(split_catalogue()[1], 6, seed=2))
    kimonos = draw_now([(kimono, seed) for seed, kimono in enumerate(concept(6))])
    assert absolute_error(reconstruct(vae, garments), garments) < 0.023
    assert absolute_error(reconstruct(vae, kimonos), kimonos) < 0.055


def test_latents_are_centred_and_of_deviation_1_on_average(vae: AutoencoderKL):
    latents = encode(vae, draw_now(draw_garments(split_catalogue()[1], 8, seed=2)))
    assert latents.shape == (8, 32, 16, 16)
    assert latents.square().mean().sqrt() == pytest.approx(1, abs=0.35)
