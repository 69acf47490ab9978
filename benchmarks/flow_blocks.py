"""The true blocks of each flow family, few of them, and the inputs of one call: for `flow_activations.py`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    Flux2Transformer2DModel,
    FluxTransformer2DModel,
    Krea2Transformer2DModel,
    QwenImage21Transformer2DModel,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    ZImageTransformer2DModel,
)
from diffusers.models.transformers.transformer_qwenimage import QwenEmbedRope
from torch import Tensor, nn

DTYPE = torch.bfloat16


@dataclass(frozen=True)
class Blocks:
    """What is measured of a family."""

    build: Callable[..., nn.Module]
    """The transformer with so many blocks of each kind; called on torch's meta device."""
    call: Callable[[Any, int, int], Sequence[Tensor]]
    """One call of it: batch, pixels along a side."""
    width: int
    """Channels of a token."""
    text_tokens: int
    kinds: int = 1
    """Kinds of blocks."""


def _z_image(num_blocks: int) -> nn.Module:
    return ZImageTransformer2DModel(n_layers=num_blocks)


def _call_z_image(transformer: Any, batch: int, pixels: int) -> Sequence[Tensor]:
    latents = [torch.empty(16, 1, pixels // 8, pixels // 8, dtype=DTYPE) for _ in range(batch)]
    captions = [torch.empty(512, 2560, dtype=DTYPE) for _ in range(batch)]
    return transformer(latents, torch.empty(batch), captions, return_dict=False)[0]


def _flux1(num_double: int, num_single: int) -> nn.Module:
    return FluxTransformer2DModel(num_layers=num_double, num_single_layers=num_single, guidance_embeds=True)


def _call_flux1(transformer: Any, batch: int, pixels: int) -> Sequence[Tensor]:
    tokens = (pixels // 16) ** 2
    return transformer(
        hidden_states=torch.empty(batch, tokens, 64, dtype=DTYPE),
        encoder_hidden_states=torch.empty(batch, 512, 4096, dtype=DTYPE),
        pooled_projections=torch.empty(batch, 768, dtype=DTYPE),
        timestep=torch.empty(batch),
        guidance=torch.empty(batch),
        txt_ids=torch.empty(512, 3),
        img_ids=torch.empty(tokens, 3),
        return_dict=False,
    )[0]


def _flux2(num_double: int, num_single: int) -> nn.Module:
    return Flux2Transformer2DModel(
        num_layers=num_double,
        num_single_layers=num_single,
        num_attention_heads=24,
        joint_attention_dim=7680,
        guidance_embeds=False,
    )


def _call_flux2(transformer: Any, batch: int, pixels: int) -> Sequence[Tensor]:
    tokens = (pixels // 16) ** 2
    return transformer(
        hidden_states=torch.empty(batch, tokens, 128, dtype=DTYPE),
        encoder_hidden_states=torch.empty(batch, 512, 7680, dtype=DTYPE),
        timestep=torch.empty(batch),
        txt_ids=torch.empty(512, 4),
        img_ids=torch.empty(tokens, 4),
        return_dict=False,
    )[0]


def _krea2(num_blocks: int) -> nn.Module:
    return Krea2Transformer2DModel(num_layers=num_blocks)


def _call_krea2(transformer: Any, batch: int, pixels: int) -> Sequence[Tensor]:
    tokens = (pixels // 16) ** 2
    return transformer(
        hidden_states=torch.empty(batch, tokens, 64, dtype=DTYPE),
        encoder_hidden_states=torch.empty(batch, 512, 12, 2560, dtype=DTYPE),
        timestep=torch.empty(batch),
        position_ids=torch.empty(512 + tokens, 3),
        encoder_attention_mask=torch.ones(batch, 512, dtype=torch.bool),
        return_dict=False,
    )[0]


def _sd3(heads: int, qk_norm: str | None, num_dual: int, num_plain: int) -> nn.Module:
    """One more block, the last, is always there: it has less of everything for the caption."""
    return SD3Transformer2DModel(
        num_layers=num_dual + num_plain + 1,
        dual_attention_layers=tuple(range(num_dual)),
        num_attention_heads=heads,
        caption_projection_dim=64 * heads,
        qk_norm=qk_norm,
        pos_embed_max_size=192,
    )


def _call_sd3(transformer: Any, batch: int, pixels: int) -> Sequence[Tensor]:
    return transformer(
        hidden_states=torch.empty(batch, 16, pixels // 8, pixels // 8, dtype=DTYPE),
        encoder_hidden_states=torch.empty(batch, 333, 4096, dtype=DTYPE),
        pooled_projections=torch.empty(batch, 2048, dtype=DTYPE),
        timestep=torch.empty(batch),
        return_dict=False,
    )[0]


def _qwen_image(num_blocks: int) -> nn.Module:
    return QwenImageTransformer2DModel(num_layers=num_blocks)


def _call_qwen_image(transformer: Any, batch: int, pixels: int) -> Sequence[Tensor]:
    side = pixels // 16
    transformer.pos_embed = QwenEmbedRope(10000, axes_dim=[16, 56, 56], scale_rope=True)  # its tables are no buffers
    return transformer(
        hidden_states=torch.empty(batch, side**2, 64, dtype=DTYPE),
        encoder_hidden_states=torch.empty(batch, 512, 3584, dtype=DTYPE),
        timestep=torch.empty(batch),
        img_shapes=[[(1, side, side)]] * batch,
        return_dict=False,
    )[0]


def _qwen_image_21(num_blocks: int) -> nn.Module:
    return QwenImage21Transformer2DModel(num_layers=num_blocks)


def _call_qwen_image_21(transformer: Any, batch: int, pixels: int) -> Sequence[Tensor]:
    """What its `forward` does, told where the picture's tokens are: it counts them, and fake ones cannot be counted."""
    text_tokens, picture_tokens = 1024, (pixels // 16) ** 2
    picture = transformer.img_in(torch.empty(batch, picture_tokens, 64, dtype=DTYPE))
    text = transformer.txt_in(torch.empty(batch, text_tokens, 4096, dtype=DTYPE))
    hidden_states = torch.cat([text, text.new_zeros(batch, picture_tokens, text.shape[2])], dim=1)
    hidden_states[:, text_tokens:] = picture
    is_picture = torch.empty(text_tokens + picture_tokens, dtype=torch.bool)
    embedded = transformer.time_text_embed(torch.empty(batch + 1, dtype=DTYPE), picture)
    modulation = transformer.modulation(embedded)
    places = torch.empty(text_tokens + picture_tokens, 64, dtype=torch.complex64)
    for block in transformer.transformer_blocks:
        arguments = (modulation, places, None, is_picture, None, None, None, [(0, text_tokens, True)], None)
        if torch.is_grad_enabled() and transformer.gradient_checkpointing:
            hidden_states = transformer._gradient_checkpointing_func(block, hidden_states, *arguments)
        else:
            hidden_states = block(hidden_states, *arguments)
    return transformer.proj_out(transformer.norm_out(hidden_states, embedded, is_picture))


BLOCKS = {
    "z-image": Blocks(_z_image, _call_z_image, 3840, 512),
    "flux1-dev": Blocks(_flux1, _call_flux1, 3072, 512, kinds=2),
    "flux2-klein-4b": Blocks(_flux2, _call_flux2, 3072, 512, kinds=2),
    "krea2": Blocks(_krea2, _call_krea2, 6144, 512),
    "sd3": Blocks(functools.partial(_sd3, 24, None, 0), _call_sd3, 1536, 333),
    "sd3.5-medium": Blocks(functools.partial(_sd3, 24, "rms_norm"), _call_sd3, 1536, 333, kinds=2),
    "sd3.5-large": Blocks(functools.partial(_sd3, 38, "rms_norm", 0), _call_sd3, 2432, 333),
    "qwen-image": Blocks(_qwen_image, _call_qwen_image, 3072, 512),
    "qwen-image-2.1": Blocks(_qwen_image_21, _call_qwen_image_21, 4096, 1024),
}
"""By the family's name."""
