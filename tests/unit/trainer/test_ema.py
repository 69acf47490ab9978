"""The moving average of the adapter: diffusers' formula, shown and taken away again bit for bit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from shared.config.loading import parse_config
from tasks.text_to_image.models import memory
from tests.true_shapes import true_shapes
from trainer.ema import Average
from trainer.learner import Learner


@pytest.fixture
def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.randn(3, 4, generator=torch.Generator().manual_seed(0))), nn.Parameter(torch.zeros(2))]


def move(parameters: list[nn.Parameter], seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return copied(parameters)


def copied(parameters: list[nn.Parameter]) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in parameters]


def test_the_average_is_recomputed_by_hand(parameters: list[nn.Parameter]) -> None:
    average = Average(parameters, decay=0.4)
    expected = copied(parameters)
    for update in range(1, 10):
        decay = min(0.4, update / (9 + update)) if update > 1 else 0
        for index, value in enumerate(move(parameters, update)):
            expected[index] = decay * expected[index] + (1 - decay) * value
        average.update()
    learning = copied(parameters)
    with average.shown():
        for found, wanted in zip(parameters, expected, strict=True):
            torch.testing.assert_close(found.detach(), wanted)
    assert all(torch.equal(one, other) for one, other in zip(parameters, learning, strict=True))
    assert average.num_updates == 9


def test_it_is_put_away_also_where_what_looked_at_it_failed(parameters: list[nn.Parameter]) -> None:
    average = Average(parameters, decay=0.4)
    learning = move(parameters, 1)

    def fail() -> None:
        assert not torch.equal(parameters[0], learning[0])
        raise RuntimeError("as told")

    with pytest.raises(RuntimeError, match="as told"), average.shown():
        fail()
    assert all(torch.equal(one, other) for one, other in zip(parameters, learning, strict=True))


def test_an_average_goes_on_as_if_nothing_had_happened(parameters: list[nn.Parameter]) -> None:
    average = Average(parameters, decay=0.9)
    for update in range(3):
        move(parameters, update)
        average.update()
    with average.shown():
        shown = copied(parameters)
    twins = [nn.Parameter(value) for value in shown]
    resumed = Average(twins, decay=0.9)
    resumed.restart(average.num_updates)
    with torch.no_grad():
        for twin, parameter in zip(twins, parameters, strict=True):
            twin.copy_(parameter)
    for each, own in ((average, parameters), (resumed, twins)):
        move(own, 7)
        each.update()
    for one, other in zip(average._ema.shadow_params, resumed._ema.shadow_params, strict=True):
        assert torch.equal(one, other)


def test_the_held_out_loss_is_the_averages(parameters: list[nn.Parameter]) -> None:
    learner: Any = object.__new__(Learner)
    learner.parameters, learner._average = parameters, Average(parameters, decay=0.9)
    before = copied(parameters)
    move(parameters, 1)
    measured: list[torch.Tensor] = []
    learner.training = SimpleNamespace(validate=lambda *_: measured.extend(copied(parameters)))
    learner.module = None
    learner.optimizer = SimpleNamespace(optimizer=torch.optim.SGD(parameters))
    learner._accumulation = SimpleNamespace(micro_batch_size=1)
    learner.validate(lambda done, total: None)
    assert all(torch.equal(one, other) for one, other in zip(measured, before, strict=True))
    assert not torch.equal(parameters[0], before[0])


def test_the_memory_estimate_counts_it() -> None:
    def bytes_with(**train: object) -> float:
        config = parse_config({"data": {"path": "p"}, "train": train})
        return memory.trainer_footprint(true_shapes("sd1"), config, "fp16", on_gpu=True).bytes

    adapter = memory.adapter_parameters(true_shapes("sd1"), parse_config({"data": {"path": "p"}}).lora)
    assert bytes_with(ema_decay=0.99) - bytes_with(ema_decay=0) == 4 * adapter
