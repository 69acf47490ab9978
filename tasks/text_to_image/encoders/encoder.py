"""What the metrics see with: one model with its own preprocessing, and the record of which model it is.

Promises: unit-norm float32 vectors; a picture's vector depends on that picture alone (one picture a batch), so that
the same snapshot always gets the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch.nn.functional import normalize

from shared.errors import ModelError

Vector = NDArray[np.float32]


class EncoderRecord(BaseModel):
    """Which encoder gave a metric its numbers, for every result; or why there is none."""

    model_config = ConfigDict(frozen=True)

    model: str = Field(description="Hub id or folder as configured, or the name of a method without weights.")
    revision: str | None = Field(default=None, description="Commit of the hub's snapshot; None for a folder.")
    digest: str | None = Field(default=None, description="sha256 of the weights; None without weights.")
    reason: str | None = Field(default=None, description="Why the encoder cannot be had; None when it can.")


@dataclass(frozen=True)
class Encoder:
    """A model with its own preprocessing: what the metrics see with."""

    record: EncoderRecord
    edge: int
    """Edge of the square the vision tower takes, pixels."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Of the three channels, in 0…1."""
    see: Callable[[torch.Tensor], torch.Tensor]
    """pixel values (1, 3, edge, edge) float32 → embedding (1, D)."""
    read: Callable[[str], torch.Tensor]
    """Text → embedding (1, D) in the same space; raises ModelError where there is no text tower."""
    device: str

    @torch.inference_mode()
    def embed_image(self, picture: Image.Image) -> Vector:
        """The picture's unit vector, (D,)."""
        return _unit(self.see(self._pixel_values(picture)))

    @torch.inference_mode()
    def embed_text(self, text: str) -> Vector:
        """The text's unit vector in the pictures' space, (D,); what exceeds the text tower's length is cut.

        Raises:
            ModelError: the model has no text tower, or its tokenizer cannot be had.
        """
        return _unit(self.read(text))

    def _pixel_values(self, picture: Image.Image) -> torch.Tensor:
        """The whole picture as the vision tower eats it. The only resizer in use."""
        square = pad_to_square(picture).resize((self.edge, self.edge), Image.Resampling.BICUBIC)
        mean, std = (np.array(channels, dtype=np.float32) for channels in (self.mean, self.std))
        pixels = (np.asarray(square, dtype=np.float32) / 255 - mean) / std
        return torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self.device)


def pad_to_square(picture: Image.Image) -> Image.Image:
    """The whole picture in RGB, centred on a square of its border's median colour.

    CLIP's own centre crop would cut the hem and the collar off a tall garment.
    """
    rgb = picture.convert("RGB")
    if rgb.width == rgb.height:
        return rgb
    pixels = np.asarray(rgb)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = np.median(border, axis=0).round().astype(int).tolist()
    edge = max(rgb.size)
    square = Image.new("RGB", (edge, edge), (red, green, blue))
    square.paste(rgb, ((edge - rgb.width) // 2, (edge - rgb.height) // 2))
    return square


def unable(error: ModelError) -> Callable[[object], NoReturn]:
    """Stands where something cannot be embedded, and says why whenever it is asked to."""

    def explain(_: object) -> NoReturn:
        raise error

    return explain


def _unit(embedding: torch.Tensor) -> Vector:
    """(1, D) of any precision to (D,) float32 of length one."""
    return normalize(embedding[0].float(), dim=0).cpu().numpy()
