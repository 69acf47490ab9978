"""Files of tensors: safetensors, and those of other trainers, which are read as tensors and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from shared.errors import ModelError

NESTED = ("model", "state_dict", "model_state_dict", "module")
"""Keys under which a checkpoint of another trainer may keep the network's tensors."""
STYLES = re.compile(r"\x1b\[[0-9;]*m")
"""Bold and plain on a terminal, which torch writes into the text of its errors."""
PREFIXES = ("module.", "model.", "network.", "_orig_mod.")


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The network's tensors by name, without the prefixes of wrappers.

    Raises:
        ModelError: it cannot be read, holds something else than tensors and plain values, or no tensor.
    """
    try:
        tree: Any = load_file(file) if file.suffix == ".safetensors" else _read(file)
    except Exception as error:  # noqa: BLE001  # whatever a damaged or hostile file makes of it
        reason = STYLES.sub("", str(error)).partition("\n")[0]
        raise ModelError(
            f"{file} cannot be read as a file of tensors: {reason}",
            "save the network's state_dict, and nothing else, with torch.save or safetensors",
        ) from None
    for key in NESTED:
        if isinstance(tree, dict) and isinstance(tree.get(key), dict):
            tree = tree[key]
    found = (
        {_plain(name): value for name, value in tree.items() if isinstance(value, Tensor)}
        if isinstance(tree, dict)
        else {}
    )
    if not found:
        raise ModelError(f"{file} holds no tensors", "save the network's state_dict with torch.save or safetensors")
    return found


def _read(file: Path) -> Any:
    """A file that torch.save has written: torch builds tensors and plain values, and refuses everything else."""
    return torch.load(file, map_location="cpu", weights_only=True)  # noqa: TID251


def _plain(name: str) -> str:
    while prefix := next((one for one in PREFIXES if name.startswith(one)), None):
        name = name.removeprefix(prefix)
    return name
