"""Finds the cloth by its meaning: a semantic segmentation model of transformers, such as a SegFormer for clothes.

It sees cloth before a street, and white cloth before a white wall, where `descriptors.garment_mask` cannot. Which of
the model's labels are cloth is read from their names. Only safetensors are read and no foreign code runs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch.nn.functional import interpolate
from transformers import AutoModelForSemanticSegmentation

from shared.errors import ModelError
from tasks.text_to_image.descriptors.garment_mask import GarmentMask, centre_window
from tasks.text_to_image.encoders.encoder import EncoderRecord
from tasks.text_to_image.encoders.files import WEIGHTS, locate
from tasks.text_to_image.encoders.loading import read_model, record_of

GARMENT_WORDS = {
    *("clothes", "clothing", "apparel", "garment", "costume", "uniform", "suit", "jumpsuit", "romper", "swimsuit"),
    *(
        "shirt",
        "sweatshirt",
        "blouse",
        "top",
        "sweater",
        "cardigan",
        "jacket",
        "vest",
        "coat",
        "cape",
        "poncho",
        "hoodie",
    ),
    *(
        "dress",
        "gown",
        "robe",
        "kimono",
        "skirt",
        "pants",
        "trousers",
        "jeans",
        "leggings",
        "shorts",
        "stockings",
        "tights",
    ),
    *("belt", "scarf", "shawl", "tie", "sleeve", "collar", "lapel"),
}
"""A label with one of these words, in the singular or the plural, is cloth. Shoes, bags, hats and skin are not."""

MIN_SHARE = 0.01
"""Of the picture: less cloth than this is not believed to be any."""
MAX_LISTED = 30


@dataclass(frozen=True)
class Segmenter:
    """A semantic segmentation model, and which of its labels are cloth."""

    record: EncoderRecord
    labels: tuple[str, ...]
    """Those that are cloth."""
    _model: Any
    _processor: Any
    _indices: tuple[int, ...]

    @torch.inference_mode()
    def garment(self, picture: Image.Image) -> GarmentMask:
        """The pixels that are more likely cloth than not, in the picture's own size; a centre window where none are."""
        rgb = picture.convert("RGB")
        inputs = self._processor(rgb, do_center_crop=False, return_tensors="pt").to(self._model.device)
        likely = self._model(**inputs).logits.float().softmax(dim=1)[:, self._indices].sum(dim=1, keepdim=True)
        size = rgb.height, rgb.width
        inside = (interpolate(likely, size=size, mode="bilinear", align_corners=False)[0, 0] > 0.5).cpu().numpy()
        if inside.mean() < MIN_SHARE:
            return GarmentMask(centre_window(size), is_fallback=True)
        return GarmentMask(inside, is_fallback=False)


def load_segmenter(source: str, labels: Sequence[str] = (), device: str = "cpu") -> Segmenter:
    """Load from a folder, the cache or the hub, in float32.

    labels: those that are cloth; empty: those with one of `GARMENT_WORDS`.

    Raises:
        ModelError: it cannot be had, or has none of the labels, with the reason.
    """
    folder = locate(source)
    if not (weights := sorted(folder.glob(WEIGHTS[0]))):
        raise ModelError(f"segmenter {source} has no model*.safetensors", "write it with `save_pretrained`")
    model, processor = read_model(folder, source, AutoModelForSemanticSegmentation)
    names: Mapping[int, str] = model.config.id2label
    chosen = _chosen(names, labels, source)
    model.to(device).eval()
    return Segmenter(
        record_of(source, folder, weights), tuple(names[index] for index in chosen), model, processor, tuple(chosen)
    )


def is_garment(label: str) -> bool:
    """Whether a label such as `Upper-clothes` or `top, t-shirt, sweatshirt` means cloth."""
    words = {word.casefold() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", label)}
    return bool(words & GARMENT_WORDS or {word.removesuffix("s") for word in words} & GARMENT_WORDS)


def _chosen(names: Mapping[int, str], labels: Collection[str], source: str) -> list[int]:
    """Indices of the labels that are cloth."""
    known = sorted(names.values())
    listed = ", ".join(known[:MAX_LISTED]) + (f" and {len(known) - MAX_LISTED} more" if len(known) > MAX_LISTED else "")
    if unknown := sorted(set(labels) - set(known)):
        raise ModelError(
            f"segmenter {source} has no label {', '.join(unknown)}; it has {listed}",
            "name some of its labels in evaluation.segmenter_labels, or none",
        )
    chosen = [index for index, name in sorted(names.items()) if (name in labels if labels else is_garment(name))]
    if not chosen:
        raise ModelError(
            f"segmenter {source} has no label that names a garment; it has {listed}",
            "name those that are your subject in evaluation.segmenter_labels",
        )
    return chosen
