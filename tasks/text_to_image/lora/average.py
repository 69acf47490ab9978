"""The average of LoRAs of one training path, as a LoRA of the same rank.

What is averaged is what each adds to the weights, scale · B·A: averages of A and of B, multiplied, would be something
else. The sum of k such products has a rank of up to k times theirs. Its singular value decomposition brings it back,
and what that cuts off is told. Nothing as large as a weight is formed: the factors are orthogonalised first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from shared.errors import ModelError
from tasks.text_to_image.lora import lora
from tasks.text_to_image.lora.lora import State

Scales = dict[str, float]
"""Module → factor of its update."""


@dataclass(frozen=True)
class Average:
    """Weights with the keys, shapes and scales of the first of the LoRAs."""

    weights: State
    loss: float
    """The share that was cut off of the exact average's Frobenius norm over all modules, 0…1."""


def average(states: Sequence[State], scales: Sequence[Scales]) -> Average:
    """Of LoRAs with equal keys, at least one.

    Raises:
        ModelError: they are of a kind whose average is not that of products.
    """
    _require_products(states[0])
    weights, lost, whole = State(), 0.0, 0.0
    for module, scale in scales[0].items():
        down_key, up_key = (f"{module}.lora_{side}.weight" for side in ("A", "B"))
        factors = [own[module] / scale for own in scales]
        ups = [factor * state[up_key].flatten(1).float() for factor, state in zip(factors, states, strict=True)]
        downs = [state[down_key].flatten(1).float() for state in states]
        rank = len(downs[0])
        down, up, values = _truncated(torch.cat(downs), torch.cat(ups, dim=1) / len(ups), rank)
        lost += float(values[rank:].square().sum()) * scale**2
        whole += float(values.square().sum()) * scale**2
        for key, value in ((down_key, down), (up_key, up)):
            like = states[0][key]
            weights[key] = value.reshape(like.shape).to(like.dtype).contiguous()
    return Average({key: weights[key] for key in states[0]}, (lost / whole) ** 0.5 if whole else 0.0)


def _require_products(state: State) -> None:
    if any(lora.MAGNITUDE in key for key in state):
        raise ModelError(
            "DoRAs have no average: each update is brought to a learnt magnitude, which an average of updates has not",
            "set evaluation.averages = 0",
        )
    others = [key for key in state if not key.endswith((".lora_A.weight", ".lora_B.weight"))]
    if others:
        raise ModelError(
            f"only plain LoRAs have an average, and the snapshots hold {others[0]}", "set evaluation.averages = 0"
        )


def _truncated(down: torch.Tensor, up: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(A, B, all singular values) of up @ down, A and B of this rank. down: (K, in), up: (out, K)."""
    left, core_left = torch.linalg.qr(up)
    right, core_right = torch.linalg.qr(down.T)
    inner_left, values, inner_right = torch.linalg.svd(core_left @ core_right.T, full_matrices=False)
    share = values[:rank].sqrt()
    count = len(share)
    new_down, new_up = torch.zeros(rank, down.shape[1]), torch.zeros(up.shape[0], rank)  # a weight may be smaller
    new_down[:count] = share[:, None] * (inner_right[:count] @ right.T)
    new_up[:, :count] = left @ (inner_left[:, :count] * share)
    return new_down, new_up, values
