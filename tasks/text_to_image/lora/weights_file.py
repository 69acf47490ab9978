"""A `.safetensors` file with a description in its header and a hash of its tensors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from shared.errors import ModelError

Tensors = dict[str, torch.Tensor]
Description = dict[str, str]


def encode(tensors: Tensors, description: Description) -> bytes:
    """The bytes of the file. Equal tensors and descriptions give equal bytes, which the library does not guarantee,
    because it writes metadata in any order.

    `modelspec.hash_sha256` covers everything after the header, as the specification demands; kohya's
    `sshs_model_hash` does too.
    """
    data = save(tensors, {"format": "pt"})
    start = 8 + int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8:start]), data[start:]
    digest = hashlib.sha256(body).hexdigest()
    hashes = {"modelspec.hash_sha256": f"0x{digest}", "sshs_model_hash": digest}
    metadata = {"format": "pt", **description, **hashes}
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def read(path: Path) -> tuple[Tensors, Description]:
    """Tensors and header of a file.

    Raises:
        ModelError: it cannot be read, or is not a complete safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path.name} cannot be read: {error}") from None
