"""A LoRA with kohya's names, for ComfyUI, A1111 and Forge.

SD 1.x and 2.x: `lora_unet_` and diffusers' module names, `lora_te_`. SDXL: `lora_unet_` and the module names of its
authors (sgm), as kohya's trainer writes them, `lora_te1_` and `lora_te2_`. Dots become underscores. Each module has
`lora_down`, `lora_up` and `alpha`: readers scale by alpha / rank.

diffusers' `convert_state_dict_to_kohya` is not used: it always writes alpha = rank.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Tensors = dict[str, torch.Tensor]

HALVES = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight"}


def convert(weights: Tensors, scales: dict[str, float], kohya_name: Callable[[str], str]) -> Tensors:
    """weights: with the keys of a snapshot. scales: the factor of each module's update, written as alpha, fp32.

    kohya_name: kohya's name of a module `unet.mid_block.…`.
    """
    converted: Tensors = {}
    for key, value in weights.items():
        part, module, half = _split(key)
        name = kohya_name(f"{part}.{module}")
        converted[f"{name}.{HALVES[half]}"] = value
        if half == "lora_A.weight":
            alpha = scales[f"{part}.{module}"] * value.shape[0]
            converted[f"{name}.alpha"] = torch.tensor(alpha, dtype=torch.float32)
    return converted


def _split(key: str) -> tuple[str, str, str]:
    """`unet.conv_in.lora_A.weight` is part, module, half."""
    part, _, rest = key.partition(".")
    module, _, half = rest.partition(".lora_")
    return part, module, f"lora_{half}"
