"""One optimizer update, with an accelerator that only pretends."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from shared.config.loading import parse_config
from shared.config.schema import ModelConfig
from tasks.text_to_image.families import loading
from tasks.text_to_image.training.predictor import Predictor
from trainer.accumulation import Accumulation
from trainer.ema import Average
from trainer.learner import Learner


class PretendOptimizer:
    step_was_skipped = False

    def __init__(self) -> None:
        self.param_groups: list[dict[str, float]] = [{"lr": 0.0}]
        self.num_steps = 0

    def step(self) -> None:
        self.num_steps += 1

    def zero_grad(self) -> None: ...


def learner_with(grad_norm: float, scaler: object) -> tuple[Learner, PretendOptimizer]:
    learner: Any = object.__new__(Learner)
    learner.config = parse_config({"data": {"path": "p"}, "train": {"learning_rate": 0.5}})
    learner.step = 0
    learner.module, learner.parameters, learner.optimizer = None, [], PretendOptimizer()
    learner._average = None
    learner._lr_factor, learner._peak_rates = lambda step: 0.5, [0.5]
    learner._loss = lambda positions: torch.tensor(1.0)
    learner.accelerator = SimpleNamespace(
        process_index=0,
        num_processes=1,
        scaler=scaler,
        no_sync=lambda model: nullcontext(),
        backward=lambda loss: None,
        clip_grad_norm_=lambda parameters, limit: torch.tensor(grad_norm),
        reduce=lambda value, how: value,
    )
    learner._accumulation = Accumulation(learner.accelerator, torch.nn.Linear(1, 1), [], batch_size=4, memory_hint="")
    return learner, learner.optimizer


@pytest.mark.parametrize("grad_norm", [float("nan"), float("inf")])
def test_an_update_without_finite_gradients_is_skipped(grad_norm: float) -> None:
    learner, optimizer = learner_with(grad_norm, scaler=None)
    learner.update()
    assert optimizer.num_steps == 0


@pytest.mark.parametrize(
    ("grad_norm", "skipped", "counted"), [(0.1, False, 1), (float("inf"), False, 0), (0.1, True, 0)]
)
def test_only_an_update_that_was_made_counts_for_the_average(grad_norm: float, skipped: bool, counted: int) -> None:
    learner, optimizer = learner_with(grad_norm, scaler=SimpleNamespace(get_scale=lambda: 1.0) if skipped else None)
    optimizer.step_was_skipped = skipped  # as accelerate says after an overflow in fp16
    learner._average = Average([torch.nn.Parameter(torch.ones(2))], 0.9)
    learner.update()
    assert learner._average.num_updates == counted


@pytest.mark.parametrize(("limit", "gradient"), [(0.5, [0.3, 0.4]), (None, [3.0, 4.0]), (100.0, [3.0, 4.0])])
def test_gradients_are_measured_whether_or_not_they_are_clipped(limit: float | None, gradient: list[float]) -> None:
    learner, _ = learner_with(0.0, scaler=None)
    parameter = torch.nn.Parameter(torch.zeros(2))
    seen: list[Tensor] = []

    def clip(parameters: object, limit: float) -> Tensor:
        parameter.grad = torch.tensor([3.0, 4.0])
        norm = torch.nn.utils.clip_grad_norm_([parameter], limit)
        seen.append(parameter.grad)
        return norm

    learner.accelerator.clip_grad_norm_ = clip  # type: ignore[method-assign]
    train = {"learning_rate": 0.5, "max_grad_norm": limit or False}
    learner.config = parse_config({"data": {"path": "p"}, "train": train})
    assert learner.update().grad_norm == pytest.approx(5.0)
    assert seen[0].tolist() == pytest.approx(gradient)


@pytest.mark.parametrize("grad_norm", [0.1, float("inf")])
def test_a_gradient_scaler_is_always_asked_because_it_learns_from_overflows(grad_norm: float) -> None:
    learner, optimizer = learner_with(grad_norm, scaler=SimpleNamespace(get_scale=lambda: 32768.0))
    assert learner.update().loss_scale == 32768.0
    assert optimizer.num_steps == 1


def test_the_learning_rate_of_a_step_is_set_before_it_is_taken() -> None:
    learner, optimizer = learner_with(0.1, scaler=None)
    update = learner.update()
    assert optimizer.num_steps == 1
    assert optimizer.param_groups[0]["lr"] == update.learning_rate == 0.25
    assert (update.loss, update.grad_norm) == (1.0, pytest.approx(0.1))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_sdxl_is_told_sizes_exactly_in_every_precision(tiny_models: Path, precision: loading.Precision) -> None:
    """bf16 knows no 1365, fp16 no 2731: neighbouring sizes have quite other sinusoidal embeddings."""
    model = loading.load_model(ModelConfig(path=str(tiny_models / "sdxl")), precision)
    told: list[torch.Tensor] = []
    model.pipeline.unet.add_time_proj.register_forward_hook(lambda module, inputs, output: told.append(output))
    time_ids = torch.tensor([[1365, 2731, 0, 171, 1024, 1344]])
    with torch.no_grad():
        text = model.encode_captions(["a red dress"])
        predicted = Predictor(model, {})(torch.zeros(1, 4, 8, 8), torch.tensor([500]), text, time_ids)
    assert predicted.dtype == loading.DTYPES[precision]
    assert torch.equal(told[0], model.pipeline.unet.add_time_proj(time_ids.flatten().double()))
