from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pocket.learning import Learner, Schedule

SCHEDULE = Schedule(num_steps=8, learning_rate=0.1, num_warmup_steps=2, save_steps=4)


def train(folder: Path, num_steps: int) -> list[Tensor]:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)

    def batch_loss(generator: torch.Generator) -> Tensor:
        return model(torch.randn(4, 3, generator=generator)).square().mean().float()

    schedule = replace(SCHEDULE, decay_share=0.0) if num_steps < SCHEDULE.num_steps else SCHEDULE
    learner = Learner(model, replace(schedule, num_steps=num_steps), folder)
    learner.fit(batch_loss, held_out_loss=lambda: 0.0)
    return [parameter.detach().clone() for parameter in learner.ema.shadow_params]


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path):
    train(tmp_path / "interrupted", num_steps=4)
    resumed, whole = train(tmp_path / "interrupted", num_steps=8), train(tmp_path / "whole", num_steps=8)
    assert all(torch.equal(one, other) for one, other in zip(resumed, whole, strict=True))


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
