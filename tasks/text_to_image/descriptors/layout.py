"""A picture's layout: where it is light and where dark, to the pixel, whatever the colours. What a copy shares.

The opposite of a perceptual embedding, which is made so that a shift does not count. A model that has learnt its
pictures by heart puts the same outline, folds and shadows in the same places, also when asked for another colour.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from tasks.text_to_image.encoders.encoder import EncoderRecord, Vector, pad_to_square

RECORD = EncoderRecord(model="layout", revision="2")
EDGE = 32
"""Edge of the square that is compared, pixels: at 64, blur and compression count for more, other pictures do not."""


def layout(picture: Image.Image) -> Vector:
    """Unit vector (1024,) of lightness without its mean: a dot product is a correlation. Zero for a flat picture."""
    grey = pad_to_square(picture).convert("L").resize((EDGE, EDGE), Image.Resampling.BOX)
    vector = np.asarray(grey, dtype=np.float64).ravel()
    vector = vector - vector.mean()
    norm = np.linalg.norm(vector)
    return (vector / norm if norm else vector).astype(np.float32)


def mirrored(vector: Vector) -> Vector:
    """The layout of the mirrored picture."""
    return vector.reshape(EDGE, EDGE)[:, ::-1].ravel()
