"""`source_kept`, `edit_done`: does the picture keep what its instruction leaves alone, and is the rest done?

Only of pairs for an edit model. Where source and reference agree, the instruction leaves the picture alone; where they
differ, it changes it. A model that ignores the instruction keeps everything and does nothing, so both numbers belong
together. Colours are compared place by place, after a little blur: a moved camera is a change.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.ndimage import binary_erosion, gaussian_filter
from skimage.color import deltaE_ciede2000, rgb2lab

from shared.errors import ModelError
from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.scoring.features import Features
from tasks.text_to_image.scoring.metric import Metric
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

Array = NDArray[np.float64]

EDGE = 256
"""The longer side of what is compared, pixels."""
BLUR = 2.0
"""Standard deviation of the Gaussian, pixels: noise and edges that moved by a pixel are no change."""
ALONE, KEPT = 4.0, 6.0
"""ΔE00, at most: of the reference to its source where an instruction leaves it alone; of a sample there if it is kept,
which allows for a VAE."""
MARGIN = 2
"""Pixels beside what is changed of which nothing is asked."""
LEAST_ALONE, LEAST_CHANGED = 0.05, 0.01
"""Shares of the picture below which there is nothing to measure."""
OTHER_SHAPE = 1.1
"""Factor between aspect ratios beyond which a source is another view and not what is edited."""


def kept(metric_input: MetricInput, features: Features) -> list[Row]:
    """Of each sample, beside its reference and what both are made from.

    `source_kept`: share of what the instruction leaves alone that is as in the source, 0…1; blank if that is next to
    nothing.
    `edit_done`: how far the sample has gone from the source to the reference where they differ: 1 − ΔE00 of sample and
    reference over that of source and reference. 0: as the source, 1: as the reference; below 0: further away. Blank if
    they do not differ.
    `kept_distance`, `kept_distance_real`: ΔE00 to the source where it is left alone, of the sample and the reference.

    Raises:
        ModelError: no sample has a source.
    """
    if not any(metric_input.sources):
        raise ModelError("these pictures are not made from sources")
    triples = zip(metric_input.sources, metric_input.references, metric_input.samples, strict=True)
    return [
        _row(source, reference, sample) if source and _is_edited(source, reference) else dict(BLANK)
        for source, reference, sample in triples
    ]


BLANK: Row = dict.fromkeys(("source_kept", "edit_done", "kept_distance", "kept_distance_real"))


def _row(source: Image.Image, reference: Image.Image, sample: Image.Image) -> Row:
    scale = EDGE / max(sample.size)
    size = (max(1, round(sample.width * scale)), max(1, round(sample.height * scale)))
    before_HWC, after_HWC, drawn_HWC = (_colours(picture, size) for picture in (source, reference, sample))
    change_HW, moved_HW = _distance(before_HWC, after_HWC), _distance(before_HWC, drawn_HWC)
    alone_HW = np.asarray(binary_erosion(change_HW <= ALONE, iterations=MARGIN, border_value=1), dtype=np.bool_)
    row = dict(BLANK)
    if alone_HW.mean() >= LEAST_ALONE:
        row |= {
            "source_kept": float((moved_HW[alone_HW] <= KEPT).mean()),
            "kept_distance": float(moved_HW[alone_HW].mean()),
            "kept_distance_real": float(change_HW[alone_HW].mean()),
        }
    changed_HW = change_HW > ALONE
    if changed_HW.mean() >= LEAST_CHANGED:
        left_HW = _distance(after_HWC, drawn_HWC)
        row["edit_done"] = 1 - float(left_HW[changed_HW].mean() / change_HW[changed_HW].mean())
    return row


def _is_edited(source: Image.Image, reference: Image.Image) -> bool:
    ratio = source.width / source.height * reference.height / reference.width
    return 1 / OTHER_SHAPE <= ratio <= OTHER_SHAPE


def _colours(picture: Image.Image, size: tuple[int, int]) -> Array:
    """Blurred CIELAB. (height, width, 3)."""
    lab = rgb2lab(np.asarray(ImageOps.fit(picture.convert("RGB"), size, Image.Resampling.BICUBIC)))
    return gaussian_filter(lab, (BLUR, BLUR, 0))


def _distance(one_HWC: Array, other_HWC: Array) -> Array:
    return np.asarray(deltaE_ciede2000(one_HWC, other_HWC), dtype=np.float64)


METRIC = Metric(
    name="kept",
    order=38,
    columns=(
        Column(
            name="source_kept",
            span=1.0,
            label="kept",
            aspect="what is left alone",
            meaning="share of what the instruction leaves alone that is as in the source",
            direction="higher",
            role="compared",
        ),
        Column(
            name="edit_done",
            label="edited",
            aspect="the edit",
            meaning="where the instruction changes something: 0 is as in the source, 1 as in the reference",
            direction="higher",
            role="compared",
        ),
        Column(
            name="kept_distance",
            meaning="colour difference to the source where it is left alone",
            direction="none",
            role="listed",
            unit="ΔE00",
        ),
        Column(
            name="kept_distance_real",
            meaning="the same of the reference",
            direction="none",
            role="listed",
            unit="ΔE00",
        ),
    ),
    compute=kept,
    needs=("references", "sources"),
    missing_reason="source and reference have other shapes, or the instruction changes nothing, or everything",
    for_edits=True,
)
