"""Examples laid out in rows of tokens, as a model takes them, and the losses of each example.

Shapes: E examples, R rows, L tokens of a row, N predictions that count, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasks.language_model.data.tokens import Tokens

NONE = -1
"""Among `owners`: no example, but what fills the row."""


@dataclass(frozen=True)
class Rows:
    """Some examples, each whole in one row. All tables are (R, L)."""

    ids: Tensor
    positions: Tensor
    """From 0 in each example; what fills a row counts from 0 as well."""
    owners: Tensor
    """Number of the example; `NONE`: it fills the row."""
    counted: Tensor
    """Whether predicting this token counts."""


def lay_out(examples: Sequence[Tokens], length: int, padding: int, *, packs: bool) -> Rows:
    """Each example goes into the first row that it fits into, the longest first; without `packs`, into its own.

    length: tokens of a row at most, at least those of the longest example. What was laid out depends on the examples
    and their order alone.
    """
    rows: list[list[int]] = []
    free: list[int] = []
    for number in sorted(range(len(examples)), key=lambda number: -len(examples[number].ids)):
        need = len(examples[number].ids)
        row = next((place for place, left in enumerate(free) if packs and left >= need), len(rows))
        if row == len(rows):
            rows.append([])
            free.append(length)
        rows[row].append(number)
        free[row] -= need
    if not packs:
        rows.sort()
    width = max(sum(len(examples[number].ids) for number in row) for row in rows)
    shape = (len(rows), width)
    ids, positions = torch.full(shape, padding), torch.zeros(shape, dtype=torch.long)
    owner, counted = torch.full(shape, NONE), torch.zeros(shape, dtype=torch.bool)
    for place, row in enumerate(rows):
        start = 0
        for number in row:
            one = examples[number]
            end = start + len(one.ids)
            ids[place, start:end] = torch.from_numpy(one.ids)
            positions[place, start:end] = torch.arange(end - start)
            owner[place, start:end] = number
            counted[place, start + 1 : end] = torch.from_numpy(one.counted[1:])
            start = end
        positions[place, start:] = torch.arange(width - start)
    return Rows(ids, positions, owner, counted)


def loss_sums(scores_RLV: Tensor, rows: Rows, num_examples: int) -> Tensor:
    """Sum of −log p over the tokens of each example that count, natural logarithm. (E,), float32."""
    device = scores_RLV.device
    row_N, place_N = torch.nonzero(rows.counted, as_tuple=True)
    targets_N, owner_N = (table[row_N, place_N].to(device) for table in (rows.ids, rows.owners))
    scores_NV = scores_RLV[row_N.to(device), (place_N - 1).to(device)].float()
    losses_N = nn.functional.cross_entropy(scores_NV, targets_N, reduction="none")
    return torch.zeros(num_examples, device=device).index_add(0, owner_N, losses_N)
