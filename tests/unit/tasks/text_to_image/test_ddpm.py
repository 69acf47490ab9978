"""The objective against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from shared.config.loading import parse_config
from shared.config.schema import TrainConfig
from shared.errors import ConfigError, ModelError
from tasks import data_order
from tasks.text_to_image.models.noise_schedule import NoiseSchedule, PredictionType
from tasks.text_to_image.objectives.ddpm import DDPM, min_snr_weights
from tasks.text_to_image.objectives.loss import distance, mean_loss
from tasks.text_to_image.objectives.noise import sample_noise
from tasks.text_to_image.training.held_out_loss import NUM_STRATA

BETAS = [0.5, 0.5, 0.5]
"""alpha-bar is 1/2, 1/4, 1/8: SNR 1, 1/3, 1/7."""


def objective(prediction_type: PredictionType) -> DDPM:
    return DDPM(NoiseSchedule(prediction_type), {"num_train_timesteps": len(BETAS), "trained_betas": BETAS})


def loss_of(
    prediction: torch.Tensor,
    target: torch.Tensor,
    settings: TrainConfig,
    prediction_type: PredictionType = "epsilon",
    weights: torch.Tensor | None = None,
    masks: torch.Tensor | None = None,
) -> torch.Tensor:
    """Of two pictures at timesteps 0 and 1."""
    counts = objective(prediction_type).weights(torch.arange(len(target)), settings)
    return mean_loss(prediction, target, settings, counts, weights, masks)


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
def test_min_snr_weights_equal_the_paper(
    prediction_type: PredictionType, snr: float, gamma: float, weight: float
) -> None:
    weights = min_snr_weights(torch.tensor([snr]), gamma, prediction_type)
    assert weights.tolist() == pytest.approx([weight])


def test_noise_is_the_target_of_a_model_that_predicts_noise() -> None:
    latents, noise = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    target = objective("epsilon").target(latents, noise, torch.tensor([0, 2]))
    assert torch.equal(target, noise)


def test_v_is_what_salimans_and_ho_say() -> None:
    latents, noise = torch.randn(3, 4, 3, 3), torch.randn(3, 4, 3, 3)
    target = objective("v_prediction").target(latents, noise, torch.tensor([0, 1, 2]))
    for index, alpha_bar in enumerate((1 / 2, 1 / 4, 1 / 8)):
        expected = alpha_bar**0.5 * noise[index] - (1 - alpha_bar) ** 0.5 * latents[index]
        assert torch.allclose(target[index], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("prediction_type", "expected"),
    [
        # errors 4, 1 at SNR 1, 1/3; weights min(SNR, 1/2) / SNR = 1/2, 1
        ("epsilon", (4 * 1 / 2 + 1 * 1) / 2),
        # weights min(SNR, 1/2) / (SNR + 1) = 1/4, 1/4
        ("v_prediction", (4 / 4 + 1 / 4) / 2),
    ],
)
def test_the_loss_weighs_each_example_by_its_timestep(prediction_type: PredictionType, expected: float) -> None:
    target = torch.zeros(2, 4, 3, 3)
    prediction = torch.stack([torch.full((4, 3, 3), 2.0), torch.full((4, 3, 3), -1.0)])
    loss = loss_of(prediction, target, TrainConfig(snr_gamma=0.5), prediction_type)
    assert loss.item() == pytest.approx(expected)


def test_without_gamma_the_loss_is_the_plain_mean_squared_error() -> None:
    target, prediction = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    loss = loss_of(prediction, target, TrainConfig(snr_gamma=None))
    assert loss.item() == pytest.approx(((prediction - target) ** 2).mean().item())


def test_the_loss_is_computed_in_single_precision() -> None:
    target = torch.zeros(1, 4, 2, 2, dtype=torch.float16)
    prediction = torch.full((1, 4, 2, 2), 300.0, dtype=torch.float16)  # its square overflows fp16
    loss = loss_of(prediction, target, TrainConfig(snr_gamma=None))
    assert loss.item() == pytest.approx(90_000.0)


@pytest.mark.parametrize("error", [1e-3, 0.1, 30.0])
def test_huber_is_square_for_small_errors_and_linear_for_large_ones(error: float) -> None:
    prediction, target = torch.full((1, 4, 2, 2), error, dtype=torch.float64), torch.zeros(1, 4, 2, 2)
    huber, smooth_l1 = (
        distance(prediction, target, loss_type, huber_c=0.1).mean().item() for loss_type in ("huber", "smooth_l1")
    )
    by_hand = 2 * 0.1 * ((error**2 + 0.1**2) ** 0.5 - 0.1)
    assert huber == pytest.approx(by_hand, rel=1e-2)
    assert smooth_l1 == pytest.approx(by_hand / 0.1, rel=1e-2)
    if error == 1e-3:
        assert huber == pytest.approx(error**2, rel=1e-2)
    if error == 30.0:
        assert huber == pytest.approx(2 * 0.1 * error, rel=1e-2)


def test_huber_is_weighted_by_timestep_too() -> None:
    target, prediction = torch.zeros(2, 4, 3, 3), torch.ones(2, 4, 3, 3)
    settings = TrainConfig(loss_type="huber", huber_c=0.5, snr_gamma=0.5)
    loss = loss_of(prediction, target, settings)
    assert loss.item() == pytest.approx((1.25**0.5 - 0.5) * (1 / 2 + 1) / 2)


# ---- noise and timesteps ----

EPSILON = NoiseSchedule("epsilon")
PLAIN = TrainConfig()
OFFSET = TrainConfig(noise_offset=0.5)
PYRAMID = TrainConfig(multires_noise_iterations=6, multires_noise_discount=0.8)
MANY = 300


def draws(settings: TrainConfig, shape: tuple[int, int, int] = (4, 16, 12)) -> torch.Tensor:
    """The noise of many pictures."""
    return torch.stack(
        [sample_noise(shape, data_order.generator(0, "test", number), settings) for number in range(MANY)]
    )


def test_noise_is_the_generators_own_white_noise_when_nothing_is_asked_for() -> None:
    noise = sample_noise((4, 8, 8), torch.Generator().manual_seed(3), PLAIN)
    assert torch.equal(noise, torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("settings", [PLAIN, OFFSET, PYRAMID], ids=["plain", "offset", "pyramid"])
def test_the_noise_of_a_picture_depends_on_its_own_generator_alone(settings: TrainConfig) -> None:
    alone = sample_noise((4, 8, 8), data_order.generator(0, "test", 7), settings)
    assert torch.equal(alone, draws(settings, (4, 8, 8))[7])
    assert not torch.equal(alone, draws(settings, (4, 8, 8))[8])


def test_noise_offset_adds_one_number_per_channel_and_picture() -> None:
    added = draws(OFFSET) - draws(PLAIN)
    assert torch.allclose(added, added.mean(dim=(2, 3), keepdim=True).expand_as(added), atol=1e-6)
    assert added.mean(dim=(2, 3)).std().item() == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("shape", [(4, 16, 12), (4, 8, 32)])
def test_pyramid_noise_keeps_variance_one_and_has_more_of_the_low_frequencies(shape: tuple[int, int, int]) -> None:
    white, pyramid = draws(PLAIN, shape), draws(PYRAMID, shape)
    assert pyramid.square().mean().item() == pytest.approx(1.0, rel=0.05)
    assert pyramid.mean(dim=(2, 3)).std() > 3 * white.mean(dim=(2, 3)).std()


def test_timesteps_without_a_range_are_what_they_were() -> None:
    for seed in range(20):
        old = torch.randint(1000, (), generator=torch.Generator().manual_seed(seed))
        new = DDPM(EPSILON, {}).sample_timestep((4, 8, 8), torch.Generator().manual_seed(seed), PLAIN)
        assert torch.equal(old, new)
        assert old.dtype == new.dtype


def test_timesteps_fill_the_range_and_nothing_else() -> None:
    generator, settings = torch.Generator().manual_seed(0), TrainConfig(min_timestep=5, max_timestep=8)
    seen = {DDPM(EPSILON, {}).sample_timestep((4, 8, 8), generator, settings).item() for _ in range(200)}
    assert seen == {5, 6, 7, 8}
    assert {
        DDPM(EPSILON, {"num_train_timesteps": 7}).sample_timestep((4, 8, 8), generator, settings).item()
        for _ in range(200)
    } == {5, 6}


def test_a_range_of_timesteps_that_is_empty_is_refused_with_the_config() -> None:
    with pytest.raises(ConfigError, match=r"train\.min_timestep is 600, must be at most train\.max_timestep \(500\)"):
        parse_config({"data": {"path": "p"}, "train": {"min_timestep": 600, "max_timestep": 500}})


def test_a_range_beyond_the_models_timesteps_is_refused() -> None:
    with pytest.raises(ModelError, match="min_timestep is 3, the model has timesteps 0 to 2"):
        objective("epsilon").require(TrainConfig(min_timestep=3))


@pytest.mark.parametrize(
    ("first", "last", "num_train_timesteps", "expected"),
    [
        (0, 999, 1000, [62, 187, 312, 437, 562, 687, 812, 937]),
        (200, 999, 600, [225, 275, 325, 375, 425, 475, 525, 575]),
        (7, 7, 1000, [7] * NUM_STRATA),
    ],
)
def test_timesteps_are_the_middles_of_the_trained_range(
    first: int, last: int, num_train_timesteps: int, expected: list[int]
) -> None:
    objective = DDPM(NoiseSchedule("epsilon"), {"num_train_timesteps": num_train_timesteps})
    found = objective.midpoints(NUM_STRATA, TrainConfig(min_timestep=first, max_timestep=last))
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("settings", "weighted"),
    [
        (TrainConfig(), True),
        (TrainConfig(what="full"), True),
        (TrainConfig(what="scratch", snr_gamma=5.0), True),
        (TrainConfig(what="scratch"), False),
    ],
)
def test_min_snr_is_off_from_scratch_unless_it_is_asked_for(settings: TrainConfig, weighted: bool) -> None:
    weights = DDPM(EPSILON, {}).weights(torch.tensor([990]), settings)
    assert (weights is not None) == weighted


# ---- zero terminal SNR ----


def test_min_snr_beside_zero_terminal_snr_is_told() -> None:
    schedule = NoiseSchedule("v_prediction", zero_terminal_snr=True)
    (told,) = DDPM(schedule, {}).notices(TrainConfig())
    assert "min-SNR gives its last timestep no weight" in told
    assert "train.snr_gamma = false" in told
    assert not DDPM(schedule, {}).notices(TrainConfig(snr_gamma=None))
    assert not DDPM(NoiseSchedule("v_prediction"), {}).notices(TrainConfig())


# ---- masks and weights ----


def masked_loss(prediction: torch.Tensor, target: torch.Tensor, **settings: float) -> torch.Tensor:
    mask = torch.zeros(2, 4, 4)
    mask[0, :2], mask[1] = 1.0, 0.5
    plain = TrainConfig(snr_gamma=None, **settings)  # type: ignore[arg-type]
    return loss_of(prediction, target, plain, weights=torch.tensor([1.0, 3.0]), masks=mask)


def test_what_is_masked_changes_neither_loss_nor_gradient() -> None:
    prediction, target = torch.randn(2, 4, 4, 4, requires_grad=True), torch.randn(2, 4, 4, 4)
    altered = target.clone()
    altered[0, :, 2:] += 100
    loss = masked_loss(prediction, target)
    assert masked_loss(prediction, altered).item() == loss.item()
    loss.backward()
    assert prediction.grad is not None
    free = 2 * (prediction - target).detach() / prediction.numel()
    assert torch.equal(prediction.grad[0, :, 2:], torch.zeros(4, 2, 4))
    assert torch.allclose(prediction.grad[0, :, :2], free[0, :, :2]), "what counts has the gradient it has unmasked"
    assert torch.allclose(prediction.grad[1], 3 * 0.5 * free[1])


def test_the_unmasked_weight_is_the_least_there_is() -> None:
    prediction, target = torch.ones(2, 4, 4, 4), torch.zeros(2, 4, 4, 4)
    assert masked_loss(prediction, target).item() == pytest.approx((0.5 + 3 * 0.5) / 2)
    assert masked_loss(prediction, target, unmasked_weight=0.25).item() == pytest.approx((0.625 + 3 * 0.5) / 2)
    assert masked_loss(prediction, target, unmasked_weight=0.75).item() == pytest.approx((0.875 + 3 * 0.75) / 2)
