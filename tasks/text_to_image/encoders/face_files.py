"""Where the face encoder's files are. Never imports torch: commands ask before any program starts.

The packages are optional: `dlib-bin`, which is dlib with its code compiled, and `face-recognition-models`, which holds
weights that dlib's author has published (Davis King's `dlib-models`).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ModelError

DLIB = "dlib"
MODELS = "face_recognition_models"
INSTALL = "pip install 'darkroom[faces]'"
NETWORK, LANDMARKS = "dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat"


@dataclass(frozen=True)
class FaceFiles:
    """The weights that are read."""

    network: Path
    """A face, aligned, to 128 numbers."""
    landmarks: Path
    """The eyes' corners and the nose, by which a face is aligned."""


def locate() -> FaceFiles:
    """The files; the package of weights is not imported, because it needs an old setuptools.

    Raises:
        ModelError: a package is missing.
    """
    missing = [name for name in (DLIB, MODELS) if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"the face encoder needs the package {' and '.join(missing)}, not installed here", INSTALL)
    spec = importlib.util.find_spec(MODELS)
    places = spec.submodule_search_locations if spec else None
    folder = Path(next(iter(places or ["."]))) / "models"
    files = FaceFiles(folder / NETWORK, folder / LANDMARKS)
    if not (files.network.is_file() and files.landmarks.is_file()):
        raise ModelError(f"the face encoder's weights are not in {folder}", f"{INSTALL} --force-reinstall")
    return files
