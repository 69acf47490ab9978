"""Krea 2 in miniature: Qwen3-VL, of which it reads the text half, the transformer, and the VAE of Qwen-Image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    Krea2Pipeline,
    Krea2Transformer2DModel,
)
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2Tokenizer, Qwen3VLConfig, Qwen3VLModel

from tests.tiny_flow.z_image import QWEN3_4B

WIDTH = 32
LAYERS = (1, 2)
"""Of the text encoder, which are read; 12 of 36 in the true model."""


def build() -> Krea2Pipeline:
    """The same weights each time; 32 × 32 pictures are 8 × 8 latents, 4 × 4 patches."""
    torch.manual_seed(0)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocab = {piece: index for index, piece in enumerate([*sorted(ByteLevel.alphabet()), *special])}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[], extra_special_tokens=special[1:], model_max_length=1024)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH + 5,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 2, 2]},
    }
    vision = {"hidden_size": 8, "intermediate_size": 8, "depth": 1, "num_heads": 1, "out_hidden_size": WIDTH}
    text_encoder = Qwen3VLModel(
        Qwen3VLConfig(text_config=text, vision_config={**vision, "deepstack_visual_indexes": [0]})
    )
    transformer = Krea2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=48,
        timestep_embed_dim=16,
        text_hidden_dim=WIDTH,
        num_text_layers=len(LAYERS),
        text_num_attention_heads=2,
        text_num_key_value_heads=2,
        text_intermediate_size=40,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 6, 6),
    )
    for name, table in transformer.named_parameters():
        if name.endswith("scale_shift_table"):  # zeros in models made from a configuration
            torch.nn.init.normal_(table, std=0.5)
    vae = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.0, 2.0, 0.5, 1.5],
    )
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, max_image_seq_len=6400)
    return Krea2Pipeline(scheduler, vae, text_encoder, tokenizer, transformer, text_encoder_select_layers=LAYERS)


def true_parts() -> dict[str, torch.nn.Module]:
    """In their true sizes."""
    text_encoder = Qwen3VLModel(Qwen3VLConfig(text_config=QWEN3_4B, vision_config={}))
    return {
        "transformer": Krea2Transformer2DModel(),
        "vae": AutoencoderKLQwenImage(),
        "text_encoder": text_encoder,
    }


def write_file(pipeline: Any, path: Path) -> None:
    """Its transformer as one file with the authors' names, as the world trades them."""
    tensors = dict(pipeline.transformer.state_dict())
    for ours, theirs in FILE_NAMES.items():
        tensors = {key.replace(ours, theirs): value for key, value in tensors.items()}
    flat = {key: value.flatten() if key.endswith(".mod.lin") else value for key, value in tensors.items()}
    save_file({key: value.contiguous() for key, value in flat.items()}, path)


FILE_NAMES = {
    "img_in.": "first.",
    "time_embed.linear_1.": "tmlp.0.",
    "time_embed.linear_2.": "tmlp.2.",
    "time_mod_proj.": "tproj.1.",
    "txt_in.norm.weight": "txtmlp.0.scale",
    "txt_in.linear_1.": "txtmlp.1.",
    "txt_in.linear_2.": "txtmlp.3.",
    "text_fusion.": "txtfusion.",
    "transformer_blocks.": "blocks.",
    "final_layer.linear.": "last.linear.",
    "final_layer.norm.weight": "last.norm.scale",
    "final_layer.scale_shift_table": "last.modulation.lin",
    ".attn.to_q.": ".attn.wq.",
    ".attn.to_k.": ".attn.wk.",
    ".attn.to_v.": ".attn.wv.",
    ".attn.to_out.0.": ".attn.wo.",
    ".attn.to_gate.": ".attn.gate.",
    ".attn.norm_q.weight": ".attn.qknorm.qnorm.scale",
    ".attn.norm_k.weight": ".attn.qknorm.knorm.scale",
    ".ff.": ".mlp.",
    ".norm1.weight": ".prenorm.scale",
    ".norm2.weight": ".postnorm.scale",
    ".scale_shift_table": ".mod.lin",
}
"""Part of diffusers' names → of the authors'."""
