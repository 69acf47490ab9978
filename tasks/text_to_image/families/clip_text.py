"""Prompts for CLIP text encoders: tokens, in passes of the encoder's length, and their hidden states.

A prompt longer than one pass is cut into pieces of 75 tokens, each with its own start and end token, and the states of
the pieces are concatenated, as in kohya's sd-scripts. With one pass the result is the same as in diffusers.

Shapes: B batch, N passes, L tokens of one pass with start and end, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tasks.text_to_image.models.tokens import MAX_TOKEN_LENGTH

if TYPE_CHECKING:
    from tasks.text_to_image.families.model import Model


def token_ids(tokenizer: Any, prompts: list[str], passes: int) -> Tensor:
    """Tokens of each prompt, cut off after `passes` pieces. (B, N, L), int64, on the CPU.

    The last piece is padded; a piece without text is an end token and padding.
    """
    window = tokenizer.model_max_length - 2
    tokens = tokenizer(
        prompts, padding="max_length", max_length=passes * window + 2, truncation=True, return_tensors="pt"
    )
    start, end, padding = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    text_BNW = tokens.input_ids[:, 1:-1].unflatten(1, (passes, window))
    used_BNW = tokens.attention_mask[:, 1:-1].unflatten(1, (passes, window)).bool()
    continues_BN = used_BNW[..., -1] & (text_BNW[..., -1] != end)
    last_BN = torch.where(continues_BN, end, padding)
    first_BN = torch.where(used_BNW[..., 0], text_BNW[..., 0], end)
    parts = (torch.full_like(last_BN, start), first_BN, text_BNW[..., 1:], last_BN)
    return torch.cat([part if part.ndim == 3 else part.unsqueeze(-1) for part in parts], dim=-1)


def side_by_side(states_BNLD: Tensor) -> Tensor:
    """The concatenated states of all passes: a start, the text of every piece, an end. (B, N × (L - 2) + 2, D)."""
    start, text, end = states_BNLD[:, 0, :1], states_BNLD[:, :, 1:-1].flatten(1, 2), states_BNLD[:, -1, -1:]
    return torch.cat([start, text, end], dim=1)


def passes(model: Model) -> int:
    """The number of passes of a text encoder: one for each 75 tokens of `data.max_token_length`."""
    return model.max_token_length // MAX_TOKEN_LENGTH


def read(model: Model, name: str, texts: list[str], *, output_hidden_states: bool) -> Any:
    """A text encoder's output for all passes of all texts; the first dimension of its tensors is B × N."""
    encoder: Any = model.text_encoders[name]
    ids_BNL = token_ids(model.tokenizers[name], texts, passes(model))
    return encoder(ids_BNL.flatten(0, 1).to(encoder.device), output_hidden_states=output_hidden_states)


def joined(model: Model, states: Tensor) -> Tensor:
    """The states of all passes, (B × N, L, D), concatenated for each prompt."""
    return side_by_side(states.unflatten(0, (-1, passes(model))))
