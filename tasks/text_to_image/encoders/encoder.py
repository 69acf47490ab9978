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
from torch.nn.functional import normalize

from shared.errors import ModelError
from tasks.text_to_image.encoders.record import EncoderRecord as EncoderRecord

Vector = NDArray[np.float32]
Vectors = NDArray[np.float32]
"""(N, D)."""

PATCHES_CURE = "set evaluation.visual to a DINOv2 or SigLIP 2, or to efficientnet-lite0"


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
    patches: Callable[[torch.Tensor], torch.Tensor] | None = None
    """pixel values (1, 3, edge, edge) float32 → what it sees at each place of a square grid, row by row, (1, N, D);
    None where it cannot be asked."""

    @torch.inference_mode()
    def embed_image(self, picture: Image.Image) -> Vector:
        """The picture's unit vector, (D,)."""
        return _unit(self.see(self.pixel_values(picture)))

    @torch.inference_mode()
    def embed_patches(self, picture: Image.Image) -> Vectors:
        """The unit vector of each place of the square grid that the whole picture lies on, row by row; (N, D).

        Raises:
            ModelError: this encoder gives none.
        """
        if self.patches is None:
            raise ModelError(f"{self.record.model} gives one vector for a whole picture", PATCHES_CURE)
        return normalize(self.patches(self.pixel_values(picture))[0].float(), dim=1).cpu().numpy()

    @torch.inference_mode()
    def embed_text(self, text: str) -> Vector:
        """The text's unit vector in the pictures' space, (D,); what exceeds the text tower's length is cut.

        Raises:
            ModelError: the model has no text tower, or its tokenizer cannot be had.
        """
        return _unit(self.read(text))

    def pixel_values(self, picture: Image.Image) -> torch.Tensor:
        """The whole picture as the vision tower eats it, (1, 3, edge, edge). The only resizer in use."""
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
