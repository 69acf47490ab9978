"""SD3.5 medium in miniature: two CLIPs with projection, T5, the transformer, the VAE and the scheduler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from pocket import tokenizer as pocket_tokenizer
from tests.tiny_flow import t5
from tests.tiny_flow.kl_vae import kl_vae
from tests.tiny_model import text_config
from tests.true_vae import VAE

CLIP_L, CLIP_G = 8, 12
"""Widths: side by side they are narrower than the T5."""
OWN: dict[str, dict[str, Any]] = {
    "sd3": {},
    "sd3.5-large": {"qk_norm": "rms_norm"},
    "sd3.5-medium": {"qk_norm": "rms_norm", "dual_attention_layers": (0,)},
}
"""What the family's transformer has of its own: a norm, and a second attention in the first block."""
TRUE: dict[str, dict[str, Any]] = {
    "sd3": {"num_layers": 24, "num_attention_heads": 24, "pos_embed_max_size": 192},
    "sd3.5-large": {"num_layers": 38, "num_attention_heads": 38, "pos_embed_max_size": 192},
    "sd3.5-medium": {"num_layers": 24, "num_attention_heads": 24, "pos_embed_max_size": 384},
}


def build(family: str = "sd3.5-medium") -> StableDiffusion3Pipeline:
    """The same weights each time; 32 × 32 pictures are 8 × 8 latents, 4 × 4 patches."""
    torch.manual_seed(0)
    tokenizer_3 = t5.tokenizer()
    config: dict[str, Any] = {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": t5.WIDTH,
        "caption_projection_dim": 32,
        "pooled_projection_dim": CLIP_L + CLIP_G,
        "pos_embed_max_size": 8,
        **OWN[family],
    }
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(**config),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=kl_vae(1.5305, 0.0609, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=CLIPTextModelWithProjection(text_config(CLIP_L, projection_dim=CLIP_L)),
        tokenizer=pocket_tokenizer.train(),
        text_encoder_2=CLIPTextModelWithProjection(text_config(CLIP_G, projection_dim=CLIP_G)),
        tokenizer_2=pocket_tokenizer.train(),
        text_encoder_3=t5.encoder(len(tokenizer_3)),
        tokenizer_3=tokenizer_3,
    )


def true_parts(family: str = "sd3.5-medium") -> dict[str, torch.nn.Module]:
    """In their true sizes."""
    config: dict[str, Any] = TRUE[family] | OWN[family]
    if family == "sd3.5-medium":
        config["dual_attention_layers"] = tuple(range(13))
    width = 64 * config["num_attention_heads"]
    clip_l: dict[str, Any] = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    }
    clip_g: dict[str, Any] = {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
    }
    return {
        "transformer": SD3Transformer2DModel(**config, caption_projection_dim=width),
        "vae": AutoencoderKL(**VAE, latent_channels=16),
        "text_encoder": CLIPTextModelWithProjection(CLIPTextConfig(**clip_l, projection_dim=768)),
        "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**clip_g, projection_dim=1280)),
        "text_encoder_3": t5.true_encoder(),
    }


def write_file(pipeline: Any, path: Path) -> None:
    """Its transformer as one file with the authors' names, as the world trades them."""
    save_file({f"model.diffusion_model.{name}": value for name, value in _authors(pipeline.transformer)}, path)


def _authors(transformer: Any) -> list[tuple[str, torch.Tensor]]:
    names = {
        "pos_embed.pos_embed": "pos_embed",
        "pos_embed.proj.": "x_embedder.proj.",
        "time_text_embed.timestep_embedder.linear_1.": "t_embedder.mlp.0.",
        "time_text_embed.timestep_embedder.linear_2.": "t_embedder.mlp.2.",
        "time_text_embed.text_embedder.linear_1.": "y_embedder.mlp.0.",
        "time_text_embed.text_embedder.linear_2.": "y_embedder.mlp.2.",
        "proj_out.": "final_layer.linear.",
        "norm_out.linear.": "final_layer.adaLN_modulation.1.",
        "transformer_blocks.": "joint_blocks.",
        ".attn.to_add_out.": ".context_block.attn.proj.",
        ".attn.norm_added_": ".context_block.attn.ln_",
        ".norm1_context.linear.": ".context_block.adaLN_modulation.1.",
        ".ff_context.net.0.proj.": ".context_block.mlp.fc1.",
        ".ff_context.net.2.": ".context_block.mlp.fc2.",
        ".norm1.linear.": ".x_block.adaLN_modulation.1.",
        ".ff.net.0.proj.": ".x_block.mlp.fc1.",
        ".ff.net.2.": ".x_block.mlp.fc2.",
    } | {
        f".{attention}.{theirs}": f".x_block.{attention}.{ours}"
        for attention in ("attn", "attn2")
        for theirs, ours in (("to_out.0.", "proj."), ("norm_", "ln_"), ("qkv.", "qkv."))
    }
    names |= {".attn.add_qkv.": ".context_block.attn.qkv."}
    last = f"transformer_blocks.{transformer.config.num_layers - 1}.norm1_context.linear."
    found = list[tuple[str, torch.Tensor]]()
    for name, value in _joined(transformer.state_dict()).items():
        tensor = value
        if name.startswith(("norm_out.linear.", last)):  # shift before scale
            tensor = torch.cat([*reversed(value.chunk(2))])
        own = name
        for theirs, ours in names.items():
            own = own.replace(theirs, ours)
        found.append((own, tensor.contiguous().clone()))
    return found


def _joined(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Queries, keys and values are one matrix in the authors' files."""
    found = dict(tensors)
    for first, others, name in (
        (".to_q.", (".to_k.", ".to_v."), ".qkv."),
        (".add_q_proj.", (".add_k_proj.", ".add_v_proj."), ".add_qkv."),
    ):
        for key in [key for key in found if first in key]:
            parts = [found.pop(key), *(found.pop(key.replace(first, other)) for other in others)]
            found[key.replace(first, name)] = torch.cat(parts)
    return found
