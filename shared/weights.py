"""What a `.safetensors` file holds, read from its header: names, shapes, precisions, and a digest to know it by."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open

from shared.errors import ModelError

BITS = {"F64": 64, "I64": 64, "F32": 32, "I32": 32, "F16": 16, "BF16": 16, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8}

SAMPLED_BYTES = 64


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
    with _opened(path) as file:
        slices = {str(name): file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return {name: TensorShape(tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}


def read_metadata(path: Path) -> dict[str, str]:
    """What a file's header says beside its tensors, such as `modelspec.prediction_type`; empty: nothing.

    Raises:
        ModelError: as `read_header`.
    """
    with _opened(path) as file:
        return dict(file.metadata() or {})


@contextmanager
def _opened(path: Path) -> Generator[Any]:
    try:
        with cast("Any", safe_open(path, framework="numpy")) as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is not a whole .safetensors file: {error}", "download it again") from None


def sampled_digest(path: Path) -> str:
    """sha256 over the header and a few bytes of every tensor, from its beginning, middle and end.

    Two fine-tunes of one architecture differ in it, and gigabytes need not be read.

    Raises:
        ModelError: as `read_header`.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(min(length, path.stat().st_size))
            digest.update(header)
            tensors = {name: tensor for name, tensor in json.loads(header).items() if name != "__metadata__"}
            for _, tensor in sorted(tensors.items()):
                first, end = tensor["data_offsets"]
                for start in (first, (first + end) // 2, max(first, end - SAMPLED_BYTES)):
                    file.seek(8 + length + start)
                    digest.update(file.read(min(SAMPLED_BYTES, end - start)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(f"{path} is not a whole .safetensors file: {error}", "download it again") from None
    return digest.hexdigest()


SINGLE_FILE_PREFIXES = {
    "model.diffusion_model.": "unet",
    "first_stage_model.": "vae",
    "cond_stage_model.": "text_encoder",
    "conditioner.embedders.0.": "text_encoder",
    "conditioner.embedders.1.": "text_encoder_2",
}
DENOISERS_AND_ENCODERS = ("unet", "vae", "text_encoder", "text_encoder_2")

Tensors = dict[str, TensorShape]


def read_components(model: Path) -> dict[str, Tensors]:
    """The tensors of each part of a diffusers folder or of a single file: unet, vae, text_encoder, text_encoder_2.

    Raises:
        ModelError: a file cannot be read, or is cut.
    """
    if model.is_dir():
        found = {part: _folder_tensors(model / part) for part in DENOISERS_AND_ENCODERS}
        return {part: tensors for part, tensors in found.items() if tensors}
    parts: dict[str, Tensors] = {}
    for name, tensor in read_header(model).items():
        for prefix, part in SINGLE_FILE_PREFIXES.items():
            if name.startswith(prefix):
                parts.setdefault(part, {})[name] = tensor
    return parts


def _folder_tensors(folder: Path) -> Tensors:
    """Of the plain weights, or where there are none of a variant's (`….fp16.safetensors`)."""
    files = sorted(folder.glob("*.safetensors"))
    plain = [file for file in files if ".fp16" not in file.suffixes and ".non_ema" not in file.suffixes]
    chosen = plain or files[:1]
    return {name: tensor for file in chosen for name, tensor in read_header(file).items()}
