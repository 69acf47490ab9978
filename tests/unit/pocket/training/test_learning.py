from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pocket.training.learning import Learner, Schedule

SCHEDULE = Schedule(num_steps=8, learning_rate=0.1, num_warmup_steps=2, save_steps=4, matrix_rate=0.1)


def train(folder: Path, num_steps: int, *, by_muon: bool = False) -> list[Tensor]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)

    def batch_loss(generator: torch.Generator) -> Tensor:
        return model(torch.randn(4, 3, generator=generator)).square().mean().float()

    schedule = replace(SCHEDULE, decay_share=0.0) if num_steps < SCHEDULE.num_steps else SCHEDULE
    matrices = [*model.parameters()][:1] if by_muon else []
    learner = Learner(model, replace(schedule, num_steps=num_steps), folder, matrices)
    learner.fit(batch_loss, held_out_loss=lambda: 0.0)
    return [parameter.detach().clone() for parameter in learner.ema.shadow_params]


@pytest.mark.parametrize("by_muon", [False, True])
def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path, by_muon: bool):
    train(tmp_path / "interrupted", num_steps=4, by_muon=by_muon)
    resumed = train(tmp_path / "interrupted", num_steps=8, by_muon=by_muon)
    whole = train(tmp_path / "whole", num_steps=8, by_muon=by_muon)
    assert all(torch.equal(one, other) for one, other in zip(resumed, whole, strict=True))


def test_matrices_learn_by_muon_and_the_rest_by_adamw(tmp_path: Path):
    model = nn.Linear(3, 2)
    start = model.weight.detach().clone()
    schedule = Schedule(num_steps=1, learning_rate=0.1, num_warmup_steps=1, matrix_rate=0.5)
    inputs, targets = torch.randn(5, 3), torch.randn(5, 2)
    learner = Learner(model, schedule, tmp_path, [*model.parameters()][:1])
    learner.fit(lambda _: (model(inputs) - targets).square().mean(), held_out_loss=lambda: 0.0)
    moved = torch.linalg.svdvals(start - learner.optimizers[1].param_groups[0]["params"][0].detach())
    assert (moved > 0.5 * 0.3).all()  # an orthogonal update has all singular values near the rate
    assert (moved < 0.5 * 1.5).all()


def test_learning_rate_rises_holds_and_falls():
    schedule = Schedule(num_steps=100, learning_rate=1.0, num_warmup_steps=10, decay_share=0.5)
    assert schedule.rate(1) == pytest.approx(0.1)
    assert schedule.rate(10) == schedule.rate(50) == 1.0
    assert schedule.rate(76) == pytest.approx(0.5)
    assert schedule.rate(100) == pytest.approx(0.02)


def test_a_diverging_loss_stops_the_training(tmp_path: Path):
    model = nn.Linear(1, 1)
    learner = Learner(model, SCHEDULE, tmp_path)
    with pytest.raises(RuntimeError, match="non-finite"):
        learner.fit(lambda _: model(torch.tensor([[float("nan")]])).sum(), held_out_loss=lambda: 0.0)
