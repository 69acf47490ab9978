"""`style_loss`: how far is the manner of the pictures from that of the training pictures, whatever they show?

A picture's style is what a network's early layers see of it on average, and how much that varies over the picture: the
channel means and standard deviations that style transfer matches (Huang & Belongie 2017), which keep no place of
anything. The distance of the two *sets* is the squared maximum mean discrepancy (Gretton et al. 2012) with a Gaussian
kernel as wide as the median distance of two training pictures. It splits into one number a picture, whose mean over a
set is the set's distance, so it can be compared prompt by prompt: pictures gain by being like the training pictures,
and lose by being like one another.

No likeness to a training picture counts beyond what one of them has to the most alike other one, so that copying a
picture is no gain (`copying.py` tests it).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import cdist

from shared.errors import ModelError
from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.encoders.chosen import Encoders
from tasks.text_to_image.encoders.efficientnet_lite0 import network
from tasks.text_to_image.scoring.features import Extractor, Features, Memo
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

if TYPE_CHECKING:  # its room imports the metrics
    from tasks.text_to_image.evaluation.training_set import TrainingSet

Array = NDArray[np.float64]

DEPTHS = (1, 3, 6)
"""Blocks of EfficientNet-Lite0 that are looked at: deeper ones know what is shown."""
MOST_TRAINING_PICTURES = 200
"""Compared with, at most, evenly spread."""
NUM_SPLITS = 20
"""Of the training pictures into halves, whose distance is what real pictures of one style score."""


def picture_style(encoders: Encoders) -> Extractor[Image.Image, Array]:
    """The statistics of a picture, (2 · channels,), as the network that comes with Darkroom sees it."""
    encoder, layers = network.load(encoders.device), network.load_network(encoders.device)

    @torch.inference_mode()
    def look(picture: Image.Image) -> Array:
        maps = layers.maps(encoder.pixel_values(picture), DEPTHS)
        parts = [part[0] for x in maps for part in (x.mean(dim=(2, 3)), x.std(dim=(2, 3)))]
        return np.concatenate([_unit(part.double().cpu().numpy()) for part in parts])

    return Extractor(look, encoder.record)


def style_loss(metric_input: MetricInput, features: Features) -> list[Row]:
    """How unlike the style is.

    `style_loss`: a picture's part of the squared distance of the sets, about −1…2; about 0 is the same style. One
    sample alone is compared with the training pictures only.
    `style_real`: the distance of one half of the training pictures to the other, mean of some splits.

    Raises:
        ModelError: there are fewer than four training pictures.
        DataError: they are no longer what they were.
    """
    if metric_input.training is None:
        raise ModelError("there are no training pictures to compare with")
    look = features[picture_style]
    known = _known(metric_input.training, look)
    samples_SD = np.stack(look(metric_input.samples))
    own_S = _mean_of_others(known.kernel(samples_SD, samples_SD)) if len(samples_SD) > 1 else np.full(1, known.among)
    real_S = np.minimum(known.kernel(samples_SD, known.pictures_ND), known.nearest).mean(axis=1)
    return [
        {"style_loss": float(own - 2 * real + known.among), "style_real": known.halves}
        for own, real in zip(own_S, real_S, strict=True)
    ]


class Known:
    """The training pictures' style."""

    def __init__(self, pictures_ND: Array) -> None:
        self.pictures_ND = pictures_ND
        distances_NN = cdist(pictures_ND, pictures_ND)
        self._width = float(np.median(distances_NN[np.triu_indices(len(pictures_ND), 1)])) or 1.0
        among_NN = self.kernel(pictures_ND, pictures_ND)
        self.among = float(_mean_of_others(among_NN).mean())
        """Mean likeness of two of them."""
        self.nearest = float((among_NN - 2 * np.eye(len(among_NN))).max(axis=1).mean())
        """Of one to the most alike other one, on average."""
        self.halves = _distance_of_halves(among_NN)

    def kernel(self, one_MD: Array, other_ND: Array) -> Array:
        """Likeness of each pair, 0…1; (M, N)."""
        return np.exp(-((cdist(one_MD, other_ND) / self._width) ** 2) / 2)


@lru_cache(maxsize=2)
def _known(training: TrainingSet, look: Memo[Image.Image, Array]) -> Known:
    found = training.looked_at(look.extract, MOST_TRAINING_PICTURES)
    if len(found) < 4:
        raise ModelError(f"a style cannot be told from {len(found)} training pictures: at least 4 are needed")
    return Known(np.stack(found))


def _mean_of_others(kernel_NN: Array) -> Array:
    """Of each row, without its own place."""
    return (kernel_NN.sum(axis=1) - np.diag(kernel_NN)) / (len(kernel_NN) - 1)


def _distance_of_halves(kernel_NN: Array) -> float:
    """Mean squared distance of the two halves of random splits; the same for every process."""
    rng, count = np.random.default_rng(0), len(kernel_NN)
    distances = []
    for _ in range(NUM_SPLITS):
        order = rng.permutation(count)
        one, other = order[: count // 2], order[count // 2 :]
        within = sum(_mean_of_others(kernel_NN[np.ix_(half, half)]).mean() for half in (one, other))
        distances.append(within - 2 * kernel_NN[np.ix_(one, other)].mean())
    return float(np.mean(distances))


def _unit(vector: Array) -> Array:
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


METRIC = Metric(
    name="style",
    order=36,
    columns=(
        Column(
            name="style_loss",
            label="style loss",
            aspect="style",
            meaning="how far the manner of the pictures is from that of the training pictures",
            direction="lower",
            role="loss",
            weight=1.0,
        ),
        Column(
            name="style_real",
            meaning="distance of one half of the training pictures to the other half",
            direction="none",
            role="listed",
        ),
    ),
    compute=style_loss,
    needs=("training",),
    features=(picture_style,),
)
