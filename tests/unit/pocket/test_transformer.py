from collections import Counter
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, ZImagePipeline
from transformers import CLIPTextModel, CLIPTokenizer

from pocket import STABLE_DIFFUSION, crisp_vae, transformer
from pocket.clip import tokenise
from pocket.garments import WORDINGS
from tasks.text_to_image.families.flow.z_image import ZImage
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.objectives.flow_matching import FlowMatching, Usual

CAPTION = "a photo of a red striped dress"


@pytest.fixture(scope="module")
def tower() -> CLIPTextModel:
    return CLIPTextModel.from_pretrained(STABLE_DIFFUSION / "text_encoder", dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(STABLE_DIFFUSION / "tokenizer")


@pytest.fixture(scope="module")
def pipeline(tower: CLIPTextModel, tokenizer: CLIPTokenizer) -> ZImagePipeline:
    torch.manual_seed(0)
    vae = AutoencoderKL(**crisp_vae.CONFIG).eval()
    return transformer.assemble(vae, tower, tokenizer, transformer.build().eval())


@pytest.fixture(scope="module")
def model(pipeline: ZImagePipeline) -> Model:
    return Model(ZImage(), pipeline, FlowMatching(pipeline.scheduler.config, Usual(*ZImage.usual)))


@torch.no_grad()
def test_the_family_reads_captions_as_the_text_tower_learnt_them(
    model: Model, tower: CLIPTextModel, tokenizer: CLIPTokenizer
):
    encoded = model.encode_captions([CAPTION])
    length = len(tokenizer(CAPTION).input_ids)
    expected = tower(tokenise(tokenizer, [CAPTION]), output_hidden_states=True).hidden_states[-2][0, :length]
    assert encoded["lengths"].tolist() == [length]
    assert torch.allclose(encoded["hidden_states"][0, :length], expected, atol=1e-4)


@torch.no_grad()
def test_true_pipeline_draws_with_the_text_tower(pipeline: ZImagePipeline):
    def draw(prompt: str) -> np.ndarray:
        generator = torch.Generator().manual_seed(0)
        settings: dict[str, Any] = {"height": 32, "width": 32, "num_inference_steps": 2, "guidance_scale": 3.0}
        return cast("Any", pipeline(prompt, generator=generator, output_type="np", **settings)).images

    pictures = draw(CAPTION)
    assert pictures.shape == (1, 32, 32, 3)
    assert np.isfinite(pictures).all()
    assert not np.array_equal(pictures, draw("a photo of a green plain coat"))


def test_a_batch_pairs_latents_with_a_wording_of_their_own_garment():
    captions = [{"garment": torch.tensor(number)} for number in range(3) for _ in WORDINGS]
    numbers = torch.tensor([2, 0, 1])
    encoded = transformer.Encoded(numbers.float().reshape(3, 1, 1, 1), numbers, captions, {"garment": torch.tensor(-1)})
    seen: Counter[bool] = Counter()
    for seed in range(20):
        latents, texts = encoded.batch(torch.Generator().manual_seed(seed))
        for latent, text in zip(latents.flatten().tolist(), texts, strict=True):
            garment = int(text["garment"])
            assert garment in (-1, latent)
            seen[garment == -1] += 1
    assert 0.05 < seen[True] / seen.total() < 0.15
