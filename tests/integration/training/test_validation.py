"""The held-out loss against one computed with diffusers alone, for captions from the cache and encoded live."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, StableDiffusionPipeline
from torch import Tensor

from shared.data import dataset
from shared.data.buckets import Framing
from shared.data.pictures import open_picture
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows
from tasks.text_to_image.data.cache import Picture, _pixels
from tasks.text_to_image.training.held_out_loss import NUM_STRATA, choose_probe, noise_of
from tests.conftest import RESOLUTION, RunMaker, Warm

RANGE = {"min_timestep": 100, "max_timestep": 899}
MIDPOINTS = [150, 250, 350, 450, 550, 650, 750, 850]

MEASURE_TWICE = """
import torch
from tasks.text_to_image.training.held_out_loss import Validation
real = Validation.measure
def measure(self, *arguments):
    before = torch.get_rng_state()
    once = real(self, *arguments)
    assert torch.equal(torch.get_rng_state(), before), "random state was advanced"
    torch.manual_seed(99)
    assert real(self, *arguments).row() == once.row(), "another measurement, another number"
    torch.set_rng_state(before)
    return once
Validation.measure = measure
"""
"""A prelude: each measurement is made again under another random state."""


@torch.no_grad()
def loss_of(pipeline: StableDiffusionPipeline, pair: dataset.Pair, stratum: int) -> float:
    """Mean squared error of the noise the base model predicts: one picture, one timestep."""
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    original = open_picture(pair.image).size
    pixels = _pixels(Picture(pair.image, Framing(original, (RESOLUTION, RESOLUTION))))
    latents = pipeline.vae.encode(pixels).latent_dist.mode() * pipeline.vae.config.scaling_factor
    noise = noise_of(pair.id, latents.shape[1:])[stratum].unsqueeze(0)
    timestep = torch.tensor([MIDPOINTS[stratum]])
    embeds: Tensor = pipeline.encode_prompt(pair.caption, "cpu", 1, False)[0]
    prediction = pipeline.unet(scheduler.add_noise(latents, noise, timestep), timestep, embeds).sample
    return F.mse_loss(prediction, noise).item()


@pytest.mark.parametrize(
    "sections",
    [
        pytest.param({"data": {"caption_dropout": 0.9, "random_flip": True}}, id="cached captions"),
        pytest.param(
            {"data": {"shuffle_tags": True}, "lora": {"text_encoder": True, "dropout": 0.5}}, id="live captions"
        ),
    ],
)
def test_the_base_models_loss_is_what_diffusers_gives(
    warm: Warm, make_run: RunMaker, tiny_model: Path, sections: dict[str, dict[str, object]]
) -> None:
    """Whatever training varies or weighs: captions, mirroring, noise, min-SNR, huber, dropout."""
    weighed = {"noise_offset": 0.3, "loss_type": "huber", "learning_rate": 1e-2}
    run = make_run(train={**RANGE, **weighed, "max_train_steps": 1, "validation_steps": 1}, **sections)
    warm.run("trainer", run.path, prelude=MEASURE_TWICE)
    assert len(read_rows(run.validation_csv)) == 2
    row = read_rows(run.validation_csv)[0]
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model)
    held_out, probe = split(run)
    for stratum in range(NUM_STRATA):
        mean = sum(loss_of(pipeline, pair, stratum) for pair in held_out) / len(held_out)
        assert float(row[f"held_out_t{stratum}"]) == pytest.approx(mean, abs=1e-5)
    losses = [loss_of(pipeline, pair, stratum) for pair in probe for stratum in range(NUM_STRATA)]
    assert float(row["train_probe_loss"]) == pytest.approx(sum(losses) / len(losses), abs=1e-5)


def split(run: RunDir) -> tuple[list[dataset.Pair], list[dataset.Pair]]:
    """The pairs held out, and as many of the others."""
    config, ids = run.read_config(), run.read_record().dataset.held_out
    pairs = dataset.scan(config)
    training = [pair for pair in pairs if pair.id not in ids]
    return [pair for pair in pairs if pair.id in ids], choose_probe(training, len(ids), config.train.seed)
