"""What a `.safetensors` file holds, read from its header: names, shapes and precisions, never a weight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open

from shared.errors import ModelError

BITS = {"F64": 64, "I64": 64, "F32": 32, "I32": 32, "F16": 16, "BF16": 16, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8}


@dataclass(frozen=True)
class TensorShape:
    """One tensor of a file."""

    shape: tuple[int, ...]
    dtype: str
    """As safetensors names it: F32, F16, BF16, F8_E4M3 …"""

    @property
    def count(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> float:
        """Bytes in the file; an unknown precision counts as 8 bits."""
        return self.count * BITS.get(self.dtype, 8) / 8


def read_header(path: Path) -> dict[str, TensorShape]:
    """Every tensor of a file, by name.

    Raises:
        ModelError: cannot be read, or is no whole safetensors file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: cast("Any", file).get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {name: TensorShape(tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is not a whole .safetensors file: {error}", "download it again") from None
