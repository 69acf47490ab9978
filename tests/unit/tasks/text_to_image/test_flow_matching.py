"""Flow matching against diffusers' own scheduler and training functions, and against numbers worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.z_image.pipeline_z_image import calculate_shift
from diffusers.training_utils import compute_density_for_timestep_sampling, compute_loss_weighting_for_sd3

from shared.config.dumping import dump_config
from shared.config.loading import load_config, parse_config
from shared.config.schema import Config, TrainConfig
from shared.errors import ConfigError
from tasks.text_to_image.families.flow.z_image import ZImage
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.models import suitability
from tasks.text_to_image.objectives.flow_matching import FlowMatching, Usual, resolution_shift, shifted

PLAIN = Usual("uniform", 1.0)
SHAPE = (16, 128, 96)


def objective(usual: Usual = PLAIN, **scheduler: Any) -> FlowMatching:
    return FlowMatching(FlowMatchEulerDiscreteScheduler(**scheduler).config, usual)


def drawn(
    settings: TrainConfig, usual: Usual = PLAIN, count: int = 4000, shape: tuple[int, ...] = SHAPE
) -> torch.Tensor:
    generator, flow = torch.Generator().manual_seed(1), objective(usual)
    return torch.stack([flow.sample_timestep(shape, generator, settings) for _ in range(count)])


def config(**sections: dict[str, object]) -> Config:
    return parse_config({"data": {"path": "pictures"}, **sections})


def test_noisy_latents_and_velocity_are_those_of_the_scheduler() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    latents, noise = torch.randn(2, 4, 6, 6, dtype=torch.float64).unbind()
    latents, noise = latents.unsqueeze(0).float(), noise.unsqueeze(0).float()
    scheduler.set_timesteps(5)
    flow = objective()
    for index in (0, 3):
        timestep, sigma = scheduler.timesteps[index : index + 1], scheduler.sigmas[index : index + 1]
        noisy = flow.add_noise(latents, noise, sigma)
        assert torch.allclose(noisy, scheduler.scale_noise(latents, timestep, noise), atol=1e-6)
        own = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
        own.set_timesteps(5)
        own.set_begin_index(index)
        after = own.step(flow.target(latents, noise, sigma), timestep, noisy, return_dict=False)[0]
        assert torch.allclose(after, flow.add_noise(latents, noise, scheduler.sigmas[index + 1 : index + 2]), atol=1e-5)


@pytest.mark.parametrize("density", ["uniform", "logit_normal", "mode"])
def test_noise_levels_are_drawn_from_diffusers_densities(density: str) -> None:
    settings = TrainConfig(timestep_sampling=density, logit_mean=0.5, logit_std=0.7, mode_scale=0.8)  # type: ignore[arg-type]
    name = "none" if density == "uniform" else density
    expected = compute_density_for_timestep_sampling(
        name, 1, logit_mean=0.5, logit_std=0.7, mode_scale=0.8, generator=torch.Generator().manual_seed(7)
    )
    assert objective().sample_timestep(SHAPE, torch.Generator().manual_seed(7), settings) == expected[0]


def test_a_higher_logit_mean_draws_more_noise() -> None:
    median = drawn(TrainConfig(timestep_sampling="logit_normal", logit_mean=1.0)).median().item()
    assert median == pytest.approx(1 / (1 + math.exp(-1.0)), abs=0.02)


def test_the_density_and_the_shift_of_the_family_are_used_unless_settings_say_otherwise() -> None:
    of_family = drawn(TrainConfig(), Usual("logit_normal", 2.0))
    told = drawn(TrainConfig(timestep_sampling="logit_normal", timestep_shift=2.0))
    assert torch.equal(of_family, told)
    assert of_family.median().item() == pytest.approx(2 / 3, abs=0.02)
    assert drawn(
        TrainConfig(timestep_sampling="uniform", timestep_shift=1.0), Usual("mode", 3.0)
    ).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("shift", "tokens"), [(3.0, 0), ("resolution", 4096), ("resolution", 1024)])
def test_the_shift_is_that_of_the_sampler(shift: float | str, tokens: int) -> None:
    sigmas = torch.linspace(0.05, 0.95, 7)
    if shift == "resolution":
        scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
        expected = scheduler.time_shift(calculate_shift(tokens), 1.0, sigmas)
        factor = resolution_shift(tokens, scheduler.config)
    else:
        scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
        scheduler.set_timesteps(sigmas=sigmas.flip(0).tolist(), num_inference_steps=7)
        expected, factor = scheduler.sigmas[:7].flip(0), float(shift)
    assert torch.allclose(shifted(sigmas, factor), expected, atol=1e-6)


def test_larger_pictures_are_shifted_more() -> None:
    settings = TrainConfig(timestep_shift="resolution")
    small, large = (drawn(settings, shape=(16, side, side)).mean().item() for side in (32, 128))
    assert small < large
    linear = {"time_shift_type": "linear", "base_shift": 1.0, "max_shift": 3.0}
    assert resolution_shift(4096, linear) == 3.0


def test_a_range_of_timesteps_confines_sigma_and_its_strata() -> None:
    settings = TrainConfig(min_timestep=200, max_timestep=999, timestep_shift=3.0)
    sigmas = drawn(settings)
    assert sigmas.min() >= 0.2
    assert sigmas.max() <= 1
    assert objective().midpoints(4, settings).tolist() == pytest.approx([0.3, 0.5, 0.7, 0.9])
    assert objective().midpoints(8, TrainConfig()).tolist() == pytest.approx([(2 * k + 1) / 16 for k in range(8)])


@pytest.mark.parametrize("scheme", ["sigma_sqrt", "cosmap"])
def test_weights_are_diffusers_and_finite_where_there_is_no_noise(scheme: str) -> None:
    settings, sigmas = TrainConfig(weighting_scheme=scheme), torch.tensor([0.1, 0.5, 1.0])  # type: ignore[arg-type]
    weights = objective().weights(sigmas, settings)
    assert weights is not None
    assert torch.equal(weights, compute_loss_weighting_for_sd3(scheme, sigmas))
    at_zero = objective().weights(torch.zeros(1), settings)
    assert at_zero is not None
    assert at_zero.isfinite().all()
    assert objective().weights(sigmas, TrainConfig()) is None


def test_a_setting_of_another_density_is_said_to_have_no_effect() -> None:
    (told,) = objective().notices(TrainConfig(timestep_sampling="uniform", logit_mean=0.3))
    assert told == "train.logit_mean has no effect: train.timestep_sampling is uniform"
    assert objective().notices(TrainConfig(timestep_sampling="logit_normal", logit_mean=0.3)) == ()


def test_the_header_says_how_noise_was_drawn() -> None:
    header = objective(Usual("logit_normal", 2.0)).header(TrainConfig(timestep_shift="resolution"))
    assert (header["ss_timestep_sampling"], header["ss_discrete_flow_shift"]) == ("logit_normal", "resolution")


def test_every_setting_of_the_other_kind_is_refused_in_one_error_with_cures() -> None:
    asked = config(
        train={"snr_gamma": 5.0, "zero_terminal_snr": True, "noise_offset": 0.1, "multires_noise_iterations": 2},
        model={"prediction_type": "v_prediction", "clip_skip": 2},
    )
    with pytest.raises(ConfigError) as refused:
        suitability.require(asked, ZImage())
    for key in ("snr_gamma", "zero_terminal_snr", "noise_offset", "multires_noise_iterations"):
        assert f"train.{key} is" in str(refused.value)
        assert f"remove train.{key}" in refused.value.hint
    assert "model.prediction_type is v_prediction, but Z-Image learns by flow matching" in str(refused.value)
    assert "model.clip_skip is 2" in str(refused.value)
    assert "evaluation.scheduler to own" in refused.value.hint
    assert refused.value.exit_code == 2


def test_settings_of_flow_models_are_refused_on_the_others() -> None:
    flow = {"timestep_sampling": "mode", "timestep_shift": 3.0, "weighting_scheme": "cosmap", "mode_scale": 1.0}
    with pytest.raises(ConfigError, match="4 settings do not suit SDXL") as refused:
        suitability.require(config(train=flow), FAMILIES["sdxl"])
    assert "train.timestep_shift is 3.0, but SDXL learns to remove noise on DDPM's timesteps" in str(refused.value)


def test_what_asks_for_nothing_is_not_refused() -> None:
    suitability.require(config(train={"snr_gamma": False}, evaluation={"scheduler": "own"}), ZImage())
    suitability.require(config(), FAMILIES["sd1"])
    suitability.require(config(train={"timestep_sampling": "mode"}), None)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("snr_gamma", 0, 'train.snr_gamma is 0, must be a number greater than 0, or "auto" or false'),
        ("snr_gamma", True, "train.snr_gamma is True"),
        (
            "timestep_shift",
            "big",
            'train.timestep_shift is \'big\', must be a number greater than 0, or "auto" or "resolution"',
        ),
    ],
)
def test_a_wrong_number_is_told_with_the_rule(key: str, value: object, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(train={key: value})
    assert told in str(refused.value)


def test_numbers_and_words_survive_the_runs_own_config(tmp_path: Path) -> None:
    for values in ({}, {"snr_gamma": False, "timestep_shift": 3}, {"snr_gamma": 2.5, "timestep_shift": "resolution"}):
        made = config(train={"max_train_steps": 3, **values}, run={"name": "a"})
        file = tmp_path / "config.toml"
        file.write_text(dump_config(made))
        assert load_config(file).train == made.train
