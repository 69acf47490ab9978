"""What a `.safetensors` file holds, read from its header: names, shapes, precisions, and a digest to know it by."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open

from shared.errors import ModelError
from shared.files.json_text import parse_json

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
            tensors = {name: tensor for name, tensor in parse_json(header).items() if name != "__metadata__"}
            for _, tensor in sorted(tensors.items()):
                first, end = tensor["data_offsets"]
                for start in (first, (first + end) // 2, max(first, end - SAMPLED_BYTES)):
                    file.seek(8 + length + start)
                    digest.update(file.read(min(SAMPLED_BYTES, end - start)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(f"{path} is not a whole .safetensors file: {error}", "download it again") from None
    return digest.hexdigest()


WEIGHTS_FILE = re.compile(
    r"(diffusion_pytorch_)?model(-\d{5}-of-\d{5})?(\.(?P<variant>[\w-]+?)(-\d{5}-of-\d{5})?)?\.safetensors$"
)
"""Plain weights, a variant's, and shards of either, in the form of today and in the older one."""
PICKLED_FILE = re.compile(r"\.(bin|ckpt|pt|pth|msgpack)$")

Tensors = dict[str, TensorShape]


def names_in(folder: Path, parts: Iterable[str]) -> dict[str, list[str]]:
    """The names of the files of each of these parts that is there."""
    return {part: sorted(path.name for path in (folder / part).iterdir()) for part in parts if (folder / part).is_dir()}


def choose_variant(names: Mapping[str, Iterable[str]], wanted: str | None, model: str) -> str | None:
    """The variant to load (`fp16` of `model.fp16.safetensors`); None: every part has plain weights.

    A part without the variant is loaded from its plain weights. names: the files of each part.

    Raises:
        ModelError: a part has only pickled weights, or not the variant that is wanted, or no variant suits all parts.
    """
    held = {part: {_variant(name) for name in files if WEIGHTS_FILE.match(name)} for part, files in names.items()}
    pickled = [part for part, files in names.items() if not held[part] and any(map(PICKLED_FILE.search, files))]
    if pickled:
        raise ModelError(
            f"{model} has only pickled weights in {' and '.join(pickled)}, which are never opened",
            "choose a revision or another copy with .safetensors files; diffusers' save_pretrained writes them",
        )
    parts = [variants for variants in held.values() if variants]
    others = sorted({variant for variants in parts for variant in variants if variant})
    suited = [
        candidate
        for candidate in (None, "fp16", *others)
        if all(variants & {candidate, None} for variants in parts)
        and (candidate is None or any(candidate in variants for variants in parts))
    ]
    if wanted in suited or (suited and not wanted):
        return wanted or suited[0]
    there = "; ".join(f"{part}: {', '.join(sorted(v or 'plain' for v in held[part])) or 'none'}" for part in held)
    problem = f"model.variant is {wanted!r}" if wanted else "no variant of weights suits every part"
    if not suited:
        cure = "download the missing files again: every part needs plain weights, or all of them the same variant"
    else:
        cure = f"set model.variant = {suited[0]!r}" if suited[0] else "leave model.variant out: plain weights suit"
    raise ModelError(f"{problem}; {model} has {there}", cure)


def _variant(name: str) -> str | None:
    match = WEIGHTS_FILE.match(name)
    return match["variant"] if match else None


def folder_tensors(folder: Path, variant: str | None) -> Tensors:
    """A part's, of the variant, or where it has none of it of the plain weights."""
    files = [path for path in sorted(folder.glob("*.safetensors")) if WEIGHTS_FILE.match(path.name)]
    chosen = [path for path in files if _variant(path.name) == variant]
    chosen = chosen or [path for path in files if _variant(path.name) is None]
    return {name: tensor for path in chosen for name, tensor in read_header(path).items()}
