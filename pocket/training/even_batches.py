"""Z-Image's transformer on batches of one shape: pictures of one size, captions filled up to one length.

The same numbers as the transformer's own forward pass, which takes lists of pictures and captions of any size and turns
positions by complex numbers: a compiler can make nothing of that. It made training 1.4 times as fast.

Shapes: B examples, C H W latents, L tokens, D dimensions, P dimensions of a token of latents.
"""

from typing import Any

import torch
from diffusers import ZImageTransformer2DModel
from torch import Tensor
from torch.nn import functional as F

from tasks.text_to_image.families.flow.packing import PATCH

LENGTH = 32
"""Tokens of a caption: the transformer fills captions, and pictures too, up to a multiple of this."""
EMBEDDER = f"{PATCH}-1"


def tokens_of(latents_BCHW: Tensor) -> Tensor:
    """(B, L, P): a token's numbers by row, column, channel, as Z-Image has them."""
    patches = latents_BCHW.unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH))  # B C H/2 2 W/2 2
    return patches.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def places(transformer: ZImageTransformer2DModel, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, (L, 1, D / 2): places of a picture's tokens, then a caption's. height, width: of latents."""
    grid: Any = transformer.create_coordinate_grid
    picture = grid((1, height // PATCH, width // PATCH), (LENGTH + 1, 0, 0)).flatten(0, 2)
    caption = grid((LENGTH, 1, 1), (1, 0, 0)).flatten(0, 2)
    angles = transformer.rope_embedder(torch.cat([picture, caption]))[:, None]
    return angles.real.contiguous(), angles.imag.contiguous()


def predict(
    transformer: Any,
    tokens_BLP: Tensor,
    times_B: Tensor,
    captions_BLD: Tensor,
    is_padding_BL: Tensor,
    turns: tuple[Tensor, Tensor],
) -> Tensor:
    """What the transformer's forward pass answers, as tokens (B, L, P), fp32. L: a multiple of `LENGTH`.

    times: from noise, 0, to picture, 1. captions: `LENGTH` tokens each. turns: of `places`.
    """
    count = tokens_BLP.shape[1]
    of_picture, of_caption = [turn[:count] for turn in turns], [turn[count:] for turn in turns]
    time_BD = transformer.t_embedder(times_B * transformer.t_scale)
    picture = transformer.all_x_embedder[EMBEDDER](tokens_BLP).float()
    for block in transformer.noise_refiner:
        picture = _through(block, picture, of_picture, time_BD)
    caption = transformer.cap_embedder(captions_BLD).float()
    caption = torch.where(is_padding_BL[..., None], transformer.cap_pad_token, caption)
    for block in transformer.context_refiner:
        caption = _through(block, caption, of_caption)
    both = torch.cat([picture, caption], dim=1)
    for block in transformer.layers:
        both = _through(block, both, turns, time_BD)
    return transformer.all_final_layer[EMBEDDER](both[:, :count], c=time_BD).float()


def _through(block: Any, hidden: Tensor, turns: Any, time_BD: Tensor | None = None) -> Tensor:
    """One block; without a time it is not modulated."""
    scale, gate, scale_forward, gate_forward = 1.0, 1.0, 1.0, 1.0
    if time_BD is not None:
        scale, gate, scale_forward, gate_forward = block.adaLN_modulation(time_BD)[:, None].chunk(4, dim=2)
        scale, gate, scale_forward, gate_forward = 1 + scale, gate.tanh(), 1 + scale_forward, gate_forward.tanh()
    attended = _attention(block.attention, block.attention_norm1(hidden) * scale, turns)
    hidden = hidden + gate * block.attention_norm2(attended).float()
    forward = block.feed_forward(block.ffn_norm1(hidden) * scale_forward)
    return hidden + gate_forward * block.ffn_norm2(forward).float()


def _attention(attention: Any, hidden: Tensor, turns: Any) -> Tensor:
    query, key, value = (
        each(hidden).unflatten(-1, (attention.heads, -1)) for each in (attention.to_q, attention.to_k, attention.to_v)
    )
    query, key = _turned(attention.norm_q(query), turns), _turned(attention.norm_k(key), turns)
    query, key, value = (each.to(value.dtype).transpose(1, 2) for each in (query, key, value))
    attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    return attention.to_out[0](attended)


def _turned(heads: Tensor, turns: Any) -> Tensor:
    """(B, L, heads, D), each pair of neighbours turned by its place."""
    (cosine, sine), (first, second) = turns, heads.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([first * cosine - second * sine, first * sine + second * cosine], dim=-1).flatten(-2)
