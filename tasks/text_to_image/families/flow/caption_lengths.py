"""Conditioning of captions of different lengths: states padded with zeros to the longest, and how much of them is text.

Shapes: B captions, L tokens, further dimensions of a token's states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.text_to_image.families.model import Conditioning


def padded(states: Sequence[Tensor]) -> Conditioning:
    """`hidden_states` (B, L, …) and `lengths` (B,) of each caption's own states, (L, …)."""
    import torch

    return {
        "hidden_states": torch.nn.utils.rnn.pad_sequence([*states], batch_first=True),
        "lengths": torch.tensor([len(each) for each in states], device=states[0].device),
    }


def listed(conditioning: Conditioning) -> list[Tensor]:
    """Each caption's states, without their padding."""
    pairs = zip(conditioning["hidden_states"], conditioning["lengths"].tolist(), strict=True)
    return [states[: int(length)] for states, length in pairs]


def collate(texts: Sequence[Conditioning]) -> Conditioning:
    """The batch of single captions, each without a batch dimension."""
    return padded([text["hidden_states"][: int(text["lengths"])] for text in texts])


def mask(conditioning: Conditioning) -> Tensor:
    """True where there is text. (B, L)."""
    import torch

    lengths = conditioning["lengths"]
    return torch.arange(conditioning["hidden_states"].shape[1], device=lengths.device) < lengths[:, None]
