"""Text encoders that are held only while something is to be encoded: they are larger than many cards beside the rest.

What was encoded is told apart by the files of the encoders and not by their weights: nothing has to be loaded to know
that the cache holds everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from tasks.text_to_image.families.family import Family
from tasks.text_to_image.models.base_model import folder_fingerprint


@dataclass(frozen=True)
class EncoderFiles:
    """Where a family's text encoders are loaded from."""

    family: Family
    folder: Path
    """A diffusers folder with the text encoders and their tokenizers."""
    variant: str | None
    dtype: torch.dtype

    def load(self) -> dict[str, nn.Module]:
        """Frozen, on the CPU, by the pipeline's names."""
        others: dict[str, None] = {part: None for part in self.family.parts if part not in self.family.text_encoders}
        kind: Any = getattr(diffusers, self.family.pipeline_class)
        arguments: dict[str, Any] = {"variant": self.variant, "dtype": self.dtype, "use_safetensors": True}
        given = others | self.family.absent(self.folder) | self.family.needed_at_once(self.folder)
        pipeline = kind.from_pretrained(self.folder, **arguments, **given)
        encoders = {name: getattr(pipeline, name) for name in self.family.text_encoders}
        encoders = {name: encoder for name, encoder in encoders.items() if encoder is not None}
        for encoder in encoders.values():
            encoder.requires_grad_(False)
        return encoders

    def digest(self) -> str:
        """Of a sample of every weight, the vocabularies and the precision."""
        parts = [part for part in self.family.parts if part.startswith(("text_encoder", "tokenizer", "processor"))]
        return f"{folder_fingerprint(self.folder, parts)}:{self.dtype}"
