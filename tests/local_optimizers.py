"""Optimizers as other packages write them: some that will do, and some that a checkpoint cannot hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


class SignDescent(Optimizer):
    """Lion's kind: the sign of a running average, moved by every gradient."""

    def __init__(self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        super().__init__(params, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.move(parameter, group)

    def move(self, parameter: torch.nn.Parameter, group: dict[str, Any]) -> None:
        average = self.state[parameter].setdefault("exp_avg", torch.zeros_like(parameter))
        average.lerp_(parameter.grad, 1 - group["betas"][1])
        parameter.sub_(average.sign() * group["lr"])


class ScheduleFree(Optimizer):
    """Learns at y, is to be used at x: `eval` and `train` change one for the other, as Meta's package has it."""

    def __init__(self, params: Any, lr: float = 1e-2, beta: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "beta": beta, "k": 0, "train_mode": False})

    @torch.no_grad()
    def eval(self) -> None:
        self.change(False, lambda group: 1 - 1 / group["beta"])

    @torch.no_grad()
    def train(self) -> None:
        self.change(True, lambda group: 1 - group["beta"])

    def change(self, train_mode: bool, share_of_z: Callable[[dict[str, Any]], float]) -> None:
        for group in self.param_groups:
            if group["train_mode"] != train_mode:
                for parameter in group["params"]:
                    if "z" in self.state[parameter]:
                        parameter.lerp_(self.state[parameter]["z"], share_of_z(group))
                group["train_mode"] = train_mode

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        for group in self.param_groups:
            if not group["train_mode"]:
                raise RuntimeError("not in train mode")
            group["k"] += 1
            for parameter in group["params"]:
                if parameter.grad is not None:
                    z = self.state[parameter].setdefault("z", parameter.clone())
                    parameter.lerp_(z, 1 / group["k"])
                    parameter.sub_(parameter.grad * group["lr"] * group["beta"] * (1 - 1 / group["k"]))
                    z.sub_(parameter.grad * group["lr"])


class TakesAnything(SignDescent):
    """Its arguments are not named in its signature."""

    def __init__(self, params: Any, lr: float = 1e-4, **kwargs: Any) -> None:
        super().__init__(params, lr, **kwargs)


class NeedsClosure(SignDescent):
    def step(self, closure: Callable[[], float]) -> None:  # type: ignore[override]
        closure()


class CallsClosure(SignDescent):
    def step(self, closure: Callable[[], float] | None = None) -> None:
        closure()  # type: ignore[misc]


class KeepsLists(SignDescent):
    def move(self, parameter: torch.nn.Parameter, group: dict[str, Any]) -> None:
        self.state[parameter].setdefault("history", []).append(parameter.grad)


class KeepsToItself(SignDescent):
    """Its second half of the state is in no `state_dict`."""

    num_updates = 0

    def move(self, parameter: torch.nn.Parameter, group: dict[str, Any]) -> None:
        self.num_updates += 1
        parameter.sub_(parameter.grad * group["lr"] / self.num_updates)


class NoOptimizer:
    """Of the right shape, but none."""
