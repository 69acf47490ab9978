"""LoRA files as other programs write them: of one module, a few bytes each."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tasks.text_to_image.foreign.found import Search
from tasks.text_to_image.foreign.numbering import Numbered, number

MODULE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"


def write(path: Path, value: float = 1.0, rank: int = 2, module: str = MODULE, **metadata: str) -> Path:
    """A file of kohya's form, last changed an hour ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{module}.lora_down.weight": np.full((rank, 32), value, np.float32),
        f"{module}.lora_up.weight": np.full((32, rank), value, np.float32),
        f"{module}.alpha": np.array(rank, np.float32),
    }
    save_file(tensors, path, metadata)
    return age(path)


def age(path: Path, seconds: float = 3600) -> Path:
    """Let it look as if it were written so long ago."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))
    return path


def numbered(folder: Path, pattern: str = "*") -> Numbered:
    return number(Search(folder, pattern).look().loras, lambda one, other: one.state[0][0] == other.state[0][0])


def steps(folder: Path) -> dict[int, str]:
    return {step: one.label for step, one in numbered(folder).loras.items()}
