"""The objective against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler

from shared.errors import ModelError
from trainer import objective

BETAS = [0.5, 0.5, 0.5]
"""alpha-bar is 1/2, 1/4, 1/8: SNR 1, 1/3, 1/7."""


def scheduler(prediction_type: str, betas: list[float] = BETAS) -> DDPMScheduler:
    return DDPMScheduler(num_train_timesteps=len(betas), trained_betas=betas, prediction_type=prediction_type)


@pytest.mark.parametrize(
    ("prediction_type", "snr", "gamma", "weight"),
    [
        ("epsilon", 1.0, 5.0, 1.0),
        ("epsilon", 10.0, 5.0, 0.5),
        ("epsilon", 0.25, 5.0, 1.0),
        ("epsilon", 0.5, 0.25, 0.5),
        ("epsilon", 0.0, 5.0, 1.0),
        ("v_prediction", 1.0, 5.0, 0.5),
        ("v_prediction", 9.0, 5.0, 0.5),
        ("v_prediction", 0.25, 5.0, 0.2),
        ("v_prediction", 0.0, 5.0, 0.0),
    ],
)
def test_min_snr_weights_equal_the_paper(prediction_type: str, snr: float, gamma: float, weight: float) -> None:
    weights = objective.min_snr_weights(torch.tensor([snr]), gamma, prediction_type)
    assert weights.tolist() == pytest.approx([weight])


def test_noise_is_the_target_of_a_model_that_predicts_noise() -> None:
    latents, noise = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    target = objective.target(scheduler("epsilon"), latents, noise, torch.tensor([0, 2]))
    assert torch.equal(target, noise)


def test_v_is_what_salimans_and_ho_say() -> None:
    latents, noise = torch.randn(3, 4, 3, 3), torch.randn(3, 4, 3, 3)
    target = objective.target(scheduler("v_prediction"), latents, noise, torch.tensor([0, 1, 2]))
    for index, alpha_bar in enumerate((1 / 2, 1 / 4, 1 / 8)):
        expected = alpha_bar**0.5 * noise[index] - (1 - alpha_bar) ** 0.5 * latents[index]
        assert torch.allclose(target[index], expected, atol=1e-6)


def test_a_model_that_predicts_the_sample_is_refused() -> None:
    nothing = torch.zeros(1, 4, 2, 2)
    with pytest.raises(ModelError, match="predicts 'sample'"):
        objective.target(scheduler("sample"), nothing, nothing, torch.tensor([0]))


@pytest.mark.parametrize(
    ("prediction_type", "expected"),
    [
        # errors 4, 1 at SNR 1, 1/3; weights min(SNR, 1/2) / SNR = 1/2, 1
        ("epsilon", (4 * 1 / 2 + 1 * 1) / 2),
        # weights min(SNR, 1/2) / (SNR + 1) = 1/4, 1/4
        ("v_prediction", (4 / 4 + 1 / 4) / 2),
    ],
)
def test_the_loss_weighs_each_example_by_its_timestep(prediction_type: str, expected: float) -> None:
    target = torch.zeros(2, 4, 3, 3)
    prediction = torch.stack([torch.full((4, 3, 3), 2.0), torch.full((4, 3, 3), -1.0)])
    loss = objective.loss(prediction, target, torch.tensor([0, 1]), scheduler(prediction_type), snr_gamma=0.5)
    assert loss.item() == pytest.approx(expected)


def test_without_gamma_the_loss_is_the_plain_mean_squared_error() -> None:
    target, prediction = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    loss = objective.loss(prediction, target, torch.tensor([0, 1]), scheduler("epsilon"), snr_gamma=None)
    assert loss.item() == pytest.approx(((prediction - target) ** 2).mean().item())


def test_the_loss_is_computed_in_single_precision() -> None:
    target = torch.zeros(1, 4, 2, 2, dtype=torch.float16)
    prediction = torch.full((1, 4, 2, 2), 300.0, dtype=torch.float16)  # its square overflows fp16
    loss = objective.loss(prediction, target, torch.tensor([0]), scheduler("epsilon"), snr_gamma=None)
    assert loss.item() == pytest.approx(90_000.0)
