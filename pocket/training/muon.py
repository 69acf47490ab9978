"""Muon (Jordan et al. 2024) for matrices and kernels of convolutions, AdamW for all else, as one optimizer.

For `train.optimizer`: it takes all parameters in one group, and its state is saved and restored like any other's.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""Of the iteration, as its authors have chosen them: singular values end between about 0.7 and 1.2."""
NUM_ITERATIONS = 5


class Muon(Optimizer):
    """Updates of matrices are made orthogonal; a kernel counts as a matrix with a row for each output channel."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        matrix_ratio: float = 20.0,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
    ) -> None:
        """lr: AdamW's; matrix_ratio: Muon's learning rate as a multiple of it. Matrices have no weight decay."""
        defaults = {"lr": lr, "weight_decay": weight_decay, "matrix_ratio": matrix_ratio, "momentum": momentum}
        super().__init__(params, {**defaults, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update from the gradients."""
        for group in self.param_groups:
            learning = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in learning:
                if parameter.ndim > 1:
                    self._orthogonal_step(parameter, group)
            self._adamw_step([parameter for parameter in learning if parameter.ndim < 2], group)

    def _orthogonal_step(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        update = orthogonal(torch.lerp(gradient, mean, group["momentum"]).flatten(1))
        stretch = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
        parameter.sub_(update.reshape(parameter.shape), alpha=group["lr"] * group["matrix_ratio"] * stretch)

    def _adamw_step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                zeros = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                self.state[parameter] = {"step": torch.zeros(()), **zeros}
        states = [self.state[parameter] for parameter in parameters]
        means, squares, steps = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
        beta1, beta2 = group["betas"]
        adamw(
            parameters,
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            means,
            squares,
            [],
            steps,
            foreach=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix with orthonormal rows or columns, about, by Newton and Schulz's iteration in bf16; fp32."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    found = wide.bfloat16()
    found = found / found.norm().clamp(min=1e-7)
    first, third, fifth = COEFFICIENTS
    for _ in range(NUM_ITERATIONS):
        gram = found @ found.T
        found = first * found + (third * gram + fifth * gram @ gram) @ found
    return (found if wide is matrix else found.T).float()
