"""`patch_loss`: does every part of the subject appear in the picture, wherever it stands and whatever is behind it?

Masked nearest-patch similarity, the concept preservation of MaSC (Bartkowiak et al. 2026, arXiv 2605.22469): each place
of a training picture that shows the subject looks for the place of the sample that is most alike, and the mean of these
cosines is the likeness. A pooled embedding mixes the subject with what is behind it.

The subject's mask is that of `data.masks`, else what `evaluation.segmenter` finds, else what stands out from a plain
wall; where none of these is to be had, the whole picture counts.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2lab

from shared.errors import ModelError
from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.descriptors import gradients
from tasks.text_to_image.descriptors.garment_mask import garment_mask
from tasks.text_to_image.descriptors.subject_mask import Mask, on_square
from tasks.text_to_image.encoders.chosen import Encoders
from tasks.text_to_image.encoders.encoder import PATCHES_CURE, Vectors, unable
from tasks.text_to_image.scoring.features import Extractor, Features, Memo
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

if TYPE_CHECKING:  # its room imports the metrics
    from tasks.text_to_image.evaluation.training_set import TrainingSet

Array = NDArray[np.float64]

MOST_TRAINING_PICTURES = 50
"""Compared with, at most, evenly spread: each pair of pictures costs the product of their places."""


def picture_places(encoders: Encoders) -> Extractor[Image.Image, Vectors]:
    """What `evaluation.visual` sees at each place of a picture's square grid."""
    source = encoders.source("visual")
    if source == gradients.RECORD.model:
        return Extractor(unable(ModelError(f"{source} gives one vector for a whole picture", PATCHES_CURE)))
    encoder = encoders.load(source)
    return Extractor(encoder.embed_patches, encoder.record)


def picture_subject(encoders: Encoders) -> Extractor[Image.Image, Mask | None]:
    """Where the subject is, (H, W), as the picture alone tells; None where it does not."""
    segmenter = encoders.segmenter()

    def look(picture: Image.Image) -> Mask | None:
        rgb = picture.convert("RGB")
        mask = segmenter.garment(rgb) if segmenter else garment_mask(rgb2lab(np.asarray(rgb)))
        return None if mask.is_fallback else mask.inside

    return Extractor(look)


def patch_loss(metric_input: MetricInput, features: Features) -> list[Row]:
    """How much of the subject is missing.

    `patch_loss`: 1 − the mean of the similarities below, each limited to `patch_nearest_real`; 0…2.
    `patch_mean`, `patch_nearest`: similarity to the training pictures on average, and to the nearest one; −1…1.
    `patch_nearest_real`: of a training picture to the nearest of the others, on average: to come nearer is to copy.

    Raises:
        ModelError: there are no training pictures, or a single one; the encoder gives no places.
        DataError: they are no longer what they were.
    """
    if metric_input.training is None:
        raise ModelError("there are no training pictures to compare with")
    look = features[picture_places]
    subjects, nearest_real = _known(metric_input.training, look, features[picture_subject])
    rows: list[Row] = []
    for sample in look(metric_input.samples):
        similarity_N = np.array([similarity(subject, sample) for subject in subjects])
        counted_N = np.minimum(similarity_N, nearest_real)
        rows.append(
            {
                "patch_loss": 1 - float(counted_N.mean() + counted_N.max()) / 2,
                "patch_mean": float(similarity_N.mean()),
                "patch_nearest": float(similarity_N.max()),
                "patch_nearest_real": nearest_real,
            }
        )
    return rows


def similarity(subject_MD: Vectors, picture_ND: Vectors) -> float:
    """Mean, over the subject's places, of the cosine to the most alike place of a picture; −1…1."""
    return float((subject_MD @ picture_ND.T).max(axis=1).astype(np.float64).mean())


@lru_cache(maxsize=2)
def _known(
    training: TrainingSet, look: Memo[Image.Image, Vectors], find: Memo[Image.Image, Mask | None]
) -> tuple[list[Vectors], float]:
    """(the subject's places in each training picture; the mean similarity of one to the nearest of the others)."""
    pictures = training.looked_at(look.extract, MOST_TRAINING_PICTURES)
    if len(pictures) < 2:
        raise ModelError("there is only one training picture, so nothing tells how alike pictures of the subject are")
    given, found = training.masks(MOST_TRAINING_PICTURES), training.looked_at(find.extract, MOST_TRAINING_PICTURES)
    masks = [one if one is not None else other for one, other in zip(given, found, strict=True)]
    subjects = [_subject(vectors, mask) for vectors, mask in zip(pictures, masks, strict=True)]
    nearest = [
        max(similarity(subject, other) for other in pictures if other is not vectors)
        for subject, vectors in zip(subjects, pictures, strict=True)
    ]
    return subjects, float(np.mean(nearest))


def _subject(vectors_ND: Vectors, mask: Mask | None) -> Vectors:
    """Those of the places that show the subject; of all where that is not known, or it covers no place."""
    inside_N = on_square(mask, math.isqrt(len(vectors_ND))) if mask is not None else np.zeros(len(vectors_ND), bool)
    return vectors_ND[inside_N] if inside_N.any() else vectors_ND


METRIC = Metric(
    name="patches",
    order=34,
    columns=(
        Column(
            name="patch_loss",
            span=2.0,
            label="parts loss",
            aspect="parts",
            meaning="how much of the garment in the training pictures is not found in the picture",
            direction="lower",
            role="loss",
            weight=1.0,
        ),
        Column(name="patch_mean", meaning="similarity on average", direction="none", role="listed"),
        Column(name="patch_nearest", meaning="similarity to the most alike picture", direction="none", role="listed"),
        Column(
            name="patch_nearest_real",
            meaning="similarity of a training picture to the most alike other one",
            direction="none",
            role="listed",
        ),
    ),
    compute=patch_loss,
    needs=("training",),
    features=(picture_places, picture_subject),
)
