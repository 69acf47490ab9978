"""A LoRA under kohya's names, as ComfyUI, A1111 and Forge read it.

SD 1.x and 2.x: `lora_unet_` and diffusers' module names, `lora_te_`. SDXL: `lora_unet_` and the module names of its
authors (sgm), as kohya's trainer writes them, `lora_te1_` and `lora_te2_`. Dots become underscores. Each module has
`lora_down`, `lora_up` and `alpha`: readers scale by alpha / rank.

diffusers' `convert_state_dict_to_kohya` is not used: it writes alpha = rank whatever was trained.
"""

from __future__ import annotations

import re

import torch

from shared.models.base_model import Family

Tensors = dict[str, torch.Tensor]

PREFIXES: dict[Family, dict[str, str]] = {
    "sd1": {"unet": "lora_unet_", "text_encoder": "lora_te_"},
    "sd2": {"unet": "lora_unet_", "text_encoder": "lora_te_"},
    "sdxl": {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"},
}
HALVES = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight"}
LAYERS_PER_BLOCK = 2
SGM_OUTSIDE_BLOCKS = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
SGM_IN_RESNETS = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
BLOCK = re.compile(r"(down|mid|up)_blocks?\.(?:(\d+)\.)?(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")


def convert(weights: Tensors, scales: dict[str, float], family: Family) -> Tensors:
    """weights: keyed as in a snapshot. scales: of each module's update; alpha carries them whole, fp32."""
    found: Tensors = {}
    for key, value in weights.items():
        part, module, half = _split(key)
        name = names(f"{part}.{module}", family)[0]
        found[f"{name}.{HALVES[half]}"] = value
        if half == "lora_A.weight":
            found[f"{name}.alpha"] = torch.tensor(scales[f"{part}.{module}"] * value.shape[0], dtype=torch.float32)
    return found


def names(module: str, family: Family) -> list[str]:
    """What kohya calls a module, `unet.mid_block.…`; then what others write instead: diffusers' names for SDXL."""
    part, _, own = module.partition(".")
    start = PREFIXES[family][part]
    spelled = [sgm_name(own), own] if family == "sdxl" and part == "unet" else [own]
    return [start + name.replace(".", "_") for name in spelled]


def _split(key: str) -> tuple[str, str, str]:
    """`unet.conv_in.lora_A.weight` is part, module, half."""
    part, _, rest = key.partition(".")
    module, _, half = rest.partition(".lora_")
    return part, module, f"lora_{half}"


def sgm_name(module: str) -> str:
    """Where a module of diffusers' SDXL UNet stands in the authors' flat lists of blocks."""
    match = BLOCK.fullmatch(module)
    if not match:
        return SGM_OUTSIDE_BLOCKS[module]
    side, block, kind, layer, rest = match[1], int(match[2] or 0), match[3], int(match[4]), match[5]
    after = (block + 1) * (LAYERS_PER_BLOCK + 1)
    if kind == "downsamplers":
        return f"input_blocks.{after}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{after - 1}.2.{rest}"
    rest = SGM_IN_RESNETS[rest] if kind == "resnets" else rest
    if side == "mid":
        return f"middle_block.{1 if kind == 'attentions' else 2 * layer}.{rest}"
    flat = block * (LAYERS_PER_BLOCK + 1) + layer
    place = f"input_blocks.{1 + flat}" if side == "down" else f"output_blocks.{flat}"
    return f"{place}.{int(kind == 'attentions')}.{rest}"
