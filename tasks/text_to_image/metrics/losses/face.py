"""`face_loss`: is it the same person? By the largest face of a picture, in whatever clothes and light.

A picture's face is compared with those of the training pictures, on average and with the nearest one. No distance
counts below what a training face has to the nearest of the others: to come nearer is to copy (`copying.py` tests it).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ModelError
from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.encoders.chosen import Encoders
from tasks.text_to_image.encoders.faces import Face
from tasks.text_to_image.scoring.features import Extractor, Features, Memo
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

if TYPE_CHECKING:  # its room imports the metrics
    from tasks.text_to_image.evaluation.training_set import TrainingSet

Array = NDArray[np.float64]

STRANGER = 1.0
"""Distance of a picture without a face: two faces of different people are rarely further apart. To draw no face is as
wrong as to draw a stranger, and where the base model draws none either, as of a back, it makes no difference."""
MOST_TRAINING_PICTURES = 200
"""Looked at, at most, evenly spread."""


def picture_face(encoders: Encoders) -> Extractor[Image.Image, Face | None]:
    """The largest face of a picture, as `evaluation.face` sees it."""
    encoder = encoders.faces()
    return Extractor(encoder.face, encoder.record)


def face_loss(metric_input: MetricInput, features: Features) -> list[Row]:
    """How unlike the person is.

    `face_loss`: the mean of the two distances below, each at least `face_nearest_real`; 0…1, same people below 0.6.
    `face_mean`, `face_nearest`: distance to the training faces on average, and to the nearest; blank without a face.
    `face_nearest_real`: of a training face to the nearest other one, on average.
    `face_found`: 1 where a face is found, else 0.

    Raises:
        ModelError: fewer than two training pictures show a face, or the encoder is missing.
        DataError: they are no longer what they were.
    """
    if metric_input.training is None:
        raise ModelError("there are no training pictures to compare with")
    look = features[picture_face]
    training_NF, nearest_real = _known(metric_input.training, look)
    return [_row(face, training_NF, nearest_real) for face in look(metric_input.samples)]


def _row(face: Face | None, training_NF: Array, nearest_real: float) -> Row:
    row: Row = {"face_nearest_real": nearest_real, "face_found": float(face is not None)}
    if face is None:
        return {"face_loss": STRANGER, "face_mean": None, "face_nearest": None, **row}
    distances_N = np.linalg.norm(training_NF - face, axis=1)
    counted_N = np.clip(distances_N, nearest_real, STRANGER)
    loss = float(counted_N.mean() + counted_N.min()) / 2
    return {"face_loss": loss, "face_mean": float(distances_N.mean()), "face_nearest": float(distances_N.min()), **row}


@lru_cache(maxsize=2)
def _known(training: TrainingSet, look: Memo[Image.Image, Face | None]) -> tuple[Array, float]:
    """(the faces of the training pictures, (N, 128); the mean distance of one to the nearest other one)."""
    found = [face for face in training.looked_at(look.extract, MOST_TRAINING_PICTURES) if face is not None]
    if len(found) < 2:
        raise ModelError("fewer than two training pictures show a face that is found")
    training_NF = np.stack(found)
    distances_NN = np.linalg.norm(training_NF[:, None] - training_NF[None], axis=2)
    np.fill_diagonal(distances_NN, np.inf)
    return training_NF, float(distances_NN.min(axis=1).mean())


METRIC = Metric(
    name="face",
    order=32,
    columns=(
        Column(
            name="face_loss",
            span=1.0,
            label="face loss",
            aspect="face",
            meaning="how unlike the faces of the training pictures the face is",
            direction="lower",
            role="loss",
            weight=1.0,
        ),
        Column(
            name="face_found",
            label="pictures with a face",
            meaning="share of the pictures in which a face is found",
            direction="none",
            role="shown",
        ),
        Column(name="face_mean", meaning="distance to the faces on average", direction="none", role="listed"),
        Column(name="face_nearest", meaning="distance to the most alike face", direction="none", role="listed"),
        Column(
            name="face_nearest_real",
            meaning="distance of a training picture's face to the most alike other one",
            direction="none",
            role="listed",
        ),
    ),
    compute=face_loss,
    needs=("training",),
    features=(picture_face,),
    missing_reason="no face is found in the picture",
)
