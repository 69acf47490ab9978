"""`contrast`, `saturation`, `sharpness`, `unclipped`: are the pictures as a camera gives them, or fried or faded?

A LoRA that has been trained too long or too fast draws with too much contrast and colour, with hard edges and burnt
areas. Perceptual embeddings hardly see it. These four need no weights. Each is compared with the reference of the same
prompt, and the interval over prompts is as wide as the references and samples differ among themselves. A prompt without
a reference is compared with the mean of the training pictures. Where there are none either, the base model's own
picture says how sharp and how clipped a picture is; how much contrast and colour the subject has, it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab

from shared.errors import ModelError
from shared.run_folder.metric_descriptions import Column, Ratio, Sign
from tasks.text_to_image.encoders.chosen import Encoders
from tasks.text_to_image.encoders.encoder import pad_to_square
from tasks.text_to_image.scoring.features import Extractor, Features
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, NotGivenError, Row

OF_THE_SUBJECT = ("contrast", "saturation")
"""Of the demo's best snapshot 1.5 and 1.2 times the base model's: a kimono is of stronger colours."""
EDGE = 256
"""Edge of the square that is looked at, pixels."""
FINE = 1.0
"""Standard deviation of the Gaussian that takes fine structure away, pixels."""
LEAST_CONTRAST, LEAST_CHROMA = 2.0, 4.0
"""Added, ΔE: twice as much of next to nothing is no finding."""
DARKEST, LIGHTEST = 1, 254
"""A channel at or beyond one of these levels, of 255, is clipped."""
MOST_TRAINING_PICTURES = 100
"""Looked at where they stand in for references, at most."""
WHITE = 250
"""All channels from here on: a white wall, which is no fault."""


@dataclass(frozen=True)
class Tones:
    """Of one picture, each > 0."""

    contrast: float
    """Standard deviation of lightness, L* units."""
    saturation: float
    """Mean chroma, ΔE."""
    sharpness: float
    """Fine structure over contrast."""
    unclipped: float
    """Share of pixels without a clipped channel, white ones included; 0…1."""


def tones(picture: Image.Image) -> Tones:
    """Look at the whole picture."""
    rgb = picture.convert("RGB")
    lab = rgb2lab(np.asarray(pad_to_square(rgb).resize((EDGE, EDGE), Image.Resampling.BICUBIC)))
    lightness = lab[..., 0]
    contrast = float(lightness.std()) + LEAST_CONTRAST
    return Tones(
        contrast=contrast,
        saturation=float(np.hypot(lab[..., 1], lab[..., 2]).mean()) + LEAST_CHROMA,
        sharpness=float((lightness - gaussian_filter(lightness, FINE)).std()) / contrast,
        unclipped=1 - float(_clipped(np.asarray(rgb)).mean()),
    )


def picture_tones(encoders: Encoders) -> Extractor[Image.Image, Tones]:
    """How a picture is rendered, whatever it shows."""
    return Extractor(tones)


def artefacts(metric_input: MetricInput, features: Features) -> list[Row]:
    """`sample_<tone>` and `real_<tone>` of each sample and its reference; the table has the ratios of their means.

    Raises:
        ModelError, DataError: there is nothing to stand in for references.
    """
    look = features[picture_tones]
    samples = look(metric_input.samples)
    if metric_input.references:
        return _rows(samples, look(metric_input.references))
    try:
        return _rows(samples, [_usual(metric_input)] * len(samples))
    except NotGivenError:
        if metric_input.base is None:
            raise
        rows = _rows(samples, look(metric_input.base))
        unknown: Row = dict.fromkeys(f"real_{tone}" for tone in OF_THE_SUBJECT)
        return [row | unknown for row in rows]


def _rows(samples: Sequence[Tones], compared_with: Sequence[Tones]) -> list[Row]:
    pairs = zip(samples, compared_with, strict=True)
    return [
        {f"{whose}_{tone.name}": getattr(picture, tone.name) for tone in fields(Tones) for whose, picture in both}
        for both in ((("sample", sample), ("real", other)) for sample, other in pairs)
    ]


def _usual(metric_input: MetricInput) -> Tones:
    """The mean of the training pictures."""
    if metric_input.training is None:
        raise ModelError("there are no reference pictures and no training pictures to compare with")
    found = metric_input.training.looked_at(tones, MOST_TRAINING_PICTURES)
    return Tones(**{tone.name: float(np.mean([getattr(one, tone.name) for one in found])) for tone in fields(Tones)})


def _clipped(rgb_HWC: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(H, W): a channel has reached an end of its range, and the pixel is not simply white."""
    at_an_end = ((rgb_HWC <= DARKEST) | (rgb_HWC >= LIGHTEST)).any(axis=-1)
    return np.logical_and(at_an_end, (rgb_HWC < WHITE).any(axis=-1))


def _columns(tone: str, sign: Sign, meaning: str) -> tuple[Column, ...]:
    of, over = f"sample_{tone}", f"real_{tone}"
    return (
        *(
            Column(name=name, meaning=f"{tone} of one picture", direction="none", role="recorded")
            for name in (of, over)
        ),
        Column(
            name=tone,
            meaning=meaning,
            direction="higher" if sign.low is None else "none",
            role="overfitting",
            ratio=Ratio(of=of, over=over),
            sign=sign,
        ),
    )


def _sign(name: str, what: str, limit: float, low: float | None = None) -> Sign:
    side = "under {limit}" if low is None else "over {limit} or under {low}"
    return Sign(
        name=name,
        limit=limit,
        low=low,
        beside_base=True,
        evidence=f"{what} is {{value}} of {OTHERS}; a sign if the whole interval is {side}",
        unknown=FEW_REFERENCES,
    )


OTHERS, OF_TRAINING, OF_BASE = "the reference pictures'", "the training pictures'", "the base model's"
"""What samples are compared with, in the evidence of a sign; the others stand in for references."""
FAR = "near 1 is like the reference pictures"
FAR_FROM = {OF_TRAINING: "near 1 is like the training pictures", OF_BASE: "near 1 is like the base model's pictures"}
FEW_REFERENCES, FEW_PROMPTS = "too few prompts have a reference picture", "too few prompts were drawn"
NO_SUBJECT = "there is no picture of the subject to compare with"
METRIC = Metric(
    name="artefacts",
    order=75,
    columns=(
        *_columns("contrast", _sign("contrast", "contrast", 1.3, 0.7), FAR),
        *_columns("saturation", _sign("saturation", "saturation", 1.35, 0.65), FAR),
        *_columns("sharpness", _sign("sharpness", "sharpness", 1.4, 0.2), FAR),
        *_columns(
            "unclipped",
            _sign("clipping", "the share of pixels that are not clipped", 0.85),
            "1 is the reference pictures' share: higher is better",
        ),
    ),
    compute=artefacts,
    missing_reason="there are no reference pictures and no training pictures to compare with",
    needs=("references",),
    instead_of_references=("training",),
    features=(picture_tones,),
)
