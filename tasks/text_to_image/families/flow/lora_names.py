"""What programs call a transformer's modules in LoRA files: with a prefix, and often with underscores for dots.

`lora_unet_` and underscores: kohya's sd-scripts, musubi-tuner, OneTrainer. `lora_transformer_` and underscores:
OneTrainer's older files. `diffusion_model.` and dots: ai-toolkit, OneTrainer for ComfyUI.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from tasks.text_to_image.families.family import COMFYUI_PREFIX

ONETRAINER_PREFIX = "lora_transformer_"
UNDERSCORED = re.compile(rf"(?:lora_unet_|{ONETRAINER_PREFIX})(.+)")
TEXT_ENCODER = "lora_te"
"""Before text encoders' modules in files with underscores."""
NUMBER = "#"
"""In a name that stands for one in each block."""


def without_prefix(name: str, denoiser: str, known: Iterable[str]) -> str | None:
    """A module's name in a LoRA file as a dotted one without prefix. known: names that may have lost their dots.

    None: it has no prefix of these or of diffusers, or is not known.
    """
    for prefix in (COMFYUI_PREFIX, f"{denoiser}."):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    if flat := UNDERSCORED.fullmatch(name):
        return next((found for one in known if (found := _dotted(flat[1], one))), None)
    return None


def _dotted(flat: str, known: str) -> str | None:
    match = _underscored(known).fullmatch(flat)
    numbers = iter(match.groups()) if match else iter(())
    return ".".join(next(numbers) if part == NUMBER else part for part in known.split(".")) if match else None


@functools.cache
def _underscored(known: str) -> re.Pattern[str]:
    return re.compile("_".join(r"(\d+)" if part == NUMBER else re.escape(part) for part in known.split(".")))


def in_blocks(stack: str, layers: Iterable[str]) -> tuple[str, ...]:
    """These layers in each block of a stack, such as `transformer_blocks`."""
    return tuple(f"{stack}.{NUMBER}.{layer}" for layer in layers)
