from collections import Counter
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, ZImagePipeline
from transformers import CLIPTextModel, CLIPTokenizer

from pocket import STABLE_DIFFUSION
from pocket.lessons.garments import WORDINGS
from pocket.training import crisp_vae, transformer
from pocket.training.clip import tokenise
from shared.config.schema import TrainConfig
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
    vae, model = AutoencoderKL(**crisp_vae.CONFIG).eval(), transformer.build().eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)  # untrained it answers zero
    return transformer.assemble(vae, tower, tokenizer, model)


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
    garments = torch.tensor([0, 1, 2]).repeat_interleave(len(WORDINGS))
    captions = torch.cat([garments, torch.tensor([-1])]).reshape(-1, 1, 1)
    numbers = torch.tensor([2, 0, 1])
    encoded = transformer.Encoded(numbers.reshape(3, 1, 1, 1), numbers, captions, captions[..., 0] < 0)
    seen: Counter[bool] = Counter()
    for seed in range(20):
        latents, chosen, is_padding = encoded.batch(torch.Generator().manual_seed(seed))
        rows = zip(latents.flatten().tolist(), chosen.flatten().tolist(), is_padding.flatten().tolist(), strict=True)
        for latent, garment, padding in rows:
            assert garment in (-1, latent)
            assert padding == (garment == -1)
            seen[padding] += 1
    assert 0.05 < seen[True] / seen.total() < 0.15


def test_noise_levels_have_the_density_of_the_familys_trainings():
    generator, settings = torch.Generator().manual_seed(0), TrainConfig()
    objective = FlowMatching(transformer.scheduler().config, Usual(*ZImage.usual))
    expected = torch.stack([objective.sample_timestep((32, 16, 16), generator, settings) for _ in range(4000)])
    sigmas = torch.cat([transformer.draw_sigmas(16, generator) for _ in range(250)])
    shares = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
    assert torch.allclose(sigmas.quantile(shares), expected.quantile(shares), atol=0.02)


def test_the_untrained_transformer_answers_zero_at_any_time():
    predicted = transformer.build()([torch.randn(32, 1, 8, 8)], torch.rand(1), [torch.randn(4, 128)], return_dict=False)
    assert torch.equal(predicted[0][0], torch.zeros(32, 1, 8, 8))


def test_muon_takes_the_matrices_of_blocks_but_those_of_modulation():
    model = transformer.build()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    taken = {names[id(parameter)].removesuffix(".weight") for parameter in transformer.matrices(model)}
    own = ("attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0", "feed_forward.w1")
    own += ("feed_forward.w2", "feed_forward.w3")
    blocks = ("noise_refiner.0", "context_refiner.0", *(f"layers.{number}" for number in range(5)))
    assert taken == {f"{block}.{name}" for block in blocks for name in own}
