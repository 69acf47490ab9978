"""What FLUX.1's authors call the modules of its transformer, in single files and in LoRAs that keep their names.

They compute in one matrix what diffusers computes in several: queries, keys and values, and in single blocks the first
layer of the feed-forward too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate

from tasks.text_to_image.families.family import COMFYUI_PREFIX

BLOCK = re.compile(r"(double|single)_blocks\.(\d+)\.(.+)")
KOHYA = re.compile(r"lora_unet_(double|single)_blocks_(\d+)_(.+)")
BLOCKS = {"double": "transformer_blocks", "single": "single_transformer_blocks"}
INSIDE: dict[str, dict[str, tuple[str, ...]]] = {
    "double": {
        "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
        "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
        "img_attn.proj": ("attn.to_out.0",),
        "txt_attn.proj": ("attn.to_add_out",),
        "img_attn.norm.query_norm": ("attn.norm_q",),
        "img_attn.norm.key_norm": ("attn.norm_k",),
        "txt_attn.norm.query_norm": ("attn.norm_added_q",),
        "txt_attn.norm.key_norm": ("attn.norm_added_k",),
        "img_mlp.0": ("ff.net.0.proj",),
        "img_mlp.2": ("ff.net.2",),
        "txt_mlp.0": ("ff_context.net.0.proj",),
        "txt_mlp.2": ("ff_context.net.2",),
        "img_mod.lin": ("norm1.linear",),
        "txt_mod.lin": ("norm1_context.linear",),
    },
    "single": {
        "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
        "linear2": ("proj_out",),
        "norm.query_norm": ("attn.norm_q",),
        "norm.key_norm": ("attn.norm_k",),
        "modulation.lin": ("norm.linear",),
    },
}
"""Kind of block → module → diffusers' modules, in the order of its outputs."""
SHARES = {"proj_mlp": 4}
"""Outputs beside 1 of each other module."""
OUTSIDE = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}


@dataclass(frozen=True)
class Piece:
    """Outputs from `first` up to `last`, in shares of `whole`, of a module of the authors; diffusers' name of it."""

    name: str
    first: int
    last: int
    whole: int


def in_lora(name: str) -> str | None:
    """The authors' name of a module in a LoRA file with ComfyUI's prefix or kohya's names; None: it has another."""
    plain = name.removeprefix(COMFYUI_PREFIX)
    if plain != name and BLOCK.fullmatch(plain):
        return plain
    kohya = KOHYA.fullmatch(name)
    inside = kohya and next((own for own in INSIDE[kohya[1]] if own.replace(".", "_") == kohya[3]), None)
    return f"{kohya[1]}_blocks.{kohya[2]}.{inside}" if kohya and inside else None


def pieces(module: str) -> list[Piece]:
    """What a module of the authors is in diffusers; the same name where they call it alike."""
    block = BLOCK.fullmatch(module)
    if block is None:
        return [Piece(OUTSIDE.get(module, module), 0, 1, 1)]
    kind, number, inside = block.groups()
    names = INSIDE[kind].get(inside, (inside,))
    shares = [SHARES.get(name, 1) for name in names]
    ends = [*accumulate(shares)]
    return [
        Piece(f"{BLOCKS[kind]}.{number}.{name}", end - share, end, ends[-1])
        for name, share, end in zip(names, shares, ends, strict=True)
    ]
