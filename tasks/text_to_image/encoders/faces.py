"""The face encoder: who is in a picture. dlib's network, whose distances below 0.6 mean one person, says its author.

Its 128 numbers are no unit vector: it was trained on Euclidean distances (99.38 % on Labeled Faces in the Wild). Never
imports torch: `init` looks for faces too.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ModelError
from shared.files.combined_digest import combined_digest
from shared.files.publication import sha256
from tasks.text_to_image.encoders import face_files
from tasks.text_to_image.encoders.files import first_line
from tasks.text_to_image.encoders.record import EncoderRecord

Face = NDArray[np.float64]
"""(128,); the Euclidean distance of two says how different the people are."""

SAME_PERSON = 0.6
"""Faces nearer than this are of one person, by dlib's documentation."""
MOST_PIXELS = 768
"""The longer side that is looked at: faces below 40 pixels there are not found."""
ENLARGED = 1
"""Times a picture is doubled before faces are searched for, which halves the size of those that are found."""


@dataclass(frozen=True)
class FaceEncoder:
    """Finds the largest face of a picture and describes it."""

    record: EncoderRecord
    describe: Callable[[NDArray[np.uint8]], Face | None]

    def face(self, picture: Image.Image) -> Face | None:
        """That of the largest face; None where none is found, as on a back or a very small figure."""
        looked_at = picture.convert("RGB")
        looked_at.thumbnail((MOST_PIXELS, MOST_PIXELS))
        return self.describe(np.asarray(looked_at))


def load_face_encoder() -> FaceEncoder:
    """dlib's.

    Raises:
        ModelError: a package or a file is missing or damaged.
    """
    files = face_files.locate()
    try:
        dlib: Any = importlib.import_module(face_files.DLIB)
        find = dlib.get_frontal_face_detector()
        align, network = dlib.shape_predictor(str(files.landmarks)), dlib.face_recognition_model_v1(str(files.network))
    except Exception as error:  # a broken package or file fails in its own ways
        raise ModelError(f"the face encoder cannot be loaded: {first_line(error)}", face_files.INSTALL) from error

    def describe(pixels_HWC: NDArray[np.uint8]) -> Face | None:
        found = find(pixels_HWC, ENLARGED)
        if not found:
            return None
        largest = max(found, key=lambda box: box.area())
        return np.array(network.compute_face_descriptor(pixels_HWC, align(pixels_HWC, largest)))

    digest = combined_digest(sha256(path) for path in (files.network, files.landmarks))
    return FaceEncoder(EncoderRecord(model=face_files.DLIB, digest=digest), describe)
