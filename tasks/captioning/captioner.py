"""A model that says what a picture shows: in a sentence, or in tags.

Models of transformers' own classes are taken by what their `config.json` says: Florence-2, BLIP, and classifiers with a
label for each tag, such as the WD taggers that were converted for transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from shared.errors import ModelError

Caption = Callable[[Image.Image], str]
"""Of an RGB picture; empty: the model has nothing to say."""

TASK = "<MORE_DETAILED_CAPTION>"
"""What Florence-2 is asked for (Xiao et al. 2023, table 13)."""
MAX_NEW_TOKENS, NUM_BEAMS = 256, 3
THRESHOLD = 0.35
"""Probability from which a tag counts, as the WD taggers' own demo has it."""
RATINGS = frozenset({"general", "sensitive", "questionable", "explicit"})
"""Labels of taggers that say for whom a picture is, not what it shows."""


def load(source: str, device: str, threshold: float = THRESHOLD) -> Caption:
    """A model from a folder or by its hub id.

    Raises:
        ModelError: it is not on this machine and cannot be downloaded, or is of another kind.
    """
    from transformers import AutoConfig  # noqa: PLC0415  # slow; a wrong call ends before it

    try:
        config = AutoConfig.from_pretrained(source)
        kind = str(config.model_type)
        if kind == "florence2":
            return _florence(source, device)
        if kind == "blip":
            return _blip(source, device)
        if any("ForImageClassification" in name for name in config.architectures or ()) or kind == "timm_wrapper":
            return _tagger(source, device, threshold)
    except (OSError, ValueError, ImportError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"{source} cannot be loaded: {reason}", "give a folder or a hub id of a captioner") from None
    raise ModelError(
        f"{source} is a {kind}, which writes no captions here",
        "give a Florence-2, a BLIP, or a tagger (image classifier)",
    )


def device_of(name: str) -> str:
    """`auto`: the GPU if there is one."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def _florence(source: str, device: str) -> Caption:
    from transformers import AutoProcessor, Florence2ForConditionalGeneration  # noqa: PLC0415

    processor: Any = AutoProcessor.from_pretrained(source)
    model: Any = Florence2ForConditionalGeneration.from_pretrained(source)
    model.to(device).eval()

    def caption(picture: Image.Image) -> str:
        inputs = processor(text=TASK, images=picture, return_tensors="pt").to(device)
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, num_beams=NUM_BEAMS, do_sample=False)
        text = processor.batch_decode(ids, skip_special_tokens=False)[0]
        return str(processor.post_process_generation(text, task=TASK, image_size=picture.size)[TASK])

    return caption


def _blip(source: str, device: str) -> Caption:
    from transformers import AutoProcessor, BlipForConditionalGeneration  # noqa: PLC0415

    processor: Any = AutoProcessor.from_pretrained(source)
    model: Any = BlipForConditionalGeneration.from_pretrained(source)
    model.to(device).eval()

    def caption(picture: Image.Image) -> str:
        inputs = processor(images=picture, return_tensors="pt").to(device)
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, num_beams=NUM_BEAMS, do_sample=False)
        return str(processor.decode(ids[0], skip_special_tokens=True))

    return caption


def _tagger(source: str, device: str, threshold: float) -> Caption:
    """Tags by falling probability: each is judged by itself."""
    from transformers import AutoImageProcessor, AutoModelForImageClassification  # noqa: PLC0415

    processor: Any = AutoImageProcessor.from_pretrained(source)
    model: Any = AutoModelForImageClassification.from_pretrained(source).to(device).eval()
    labels: dict[int, str] = model.config.id2label

    def caption(picture: Image.Image) -> str:
        inputs = processor(images=picture, return_tensors="pt").to(device)
        with torch.inference_mode():
            probabilities_N = model(**inputs).logits[0].float().sigmoid().cpu()
        order = probabilities_N.argsort(descending=True).tolist()
        sure = [labels[place] for place in order if probabilities_N[place] >= threshold]
        return ", ".join(_tag(label) for label in sure if label not in RATINGS and not label.startswith("rating:"))

    return caption


def _tag(label: str) -> str:
    """`red_dress` as people write it; a face made of signs, such as `^_^`, stays."""
    return label.replace("_", " ") if any(map(str.isalpha, label)) and len(label) > 3 else label


def name_of(source: str) -> str:
    """As a change names it: the last part of a folder, a hub id whole."""
    return Path(source).name if Path(source).exists() else source
