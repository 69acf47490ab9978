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

from shared.errors import ConfigError, DeviceError, ModelError
from tasks.devices import is_out_of_memory

Caption = Callable[[Image.Image], str]
"""Of an RGB picture; empty: the model has nothing to say."""

TASK = "<MORE_DETAILED_CAPTION>"
"""What Florence-2 is asked for (Xiao et al. 2023, table 13)."""
MAX_NEW_TOKENS, NUM_BEAMS = 256, 3
THRESHOLD = 0.35
"""Probability from which a tag counts, as the WD taggers' own demo has it."""
_CURE = "give a complete folder or the hub id of a Florence-2, a BLIP or a tagger (image classifier)"
RATINGS = frozenset({"general", "sensitive", "questionable", "explicit"})
"""Labels of taggers that say for whom a picture is, not what it shows."""


def load(source: str, device: str, threshold: float = THRESHOLD) -> Caption:
    """A model from a folder or by its hub id.

    Raises:
        ModelError: it is not on this machine and cannot be downloaded, is broken, or is of another kind.
        DeviceError: it does not fit into the device's memory.
    """
    from transformers import AutoConfig  # noqa: PLC0415  # slow; a wrong call ends before it

    if not source.strip():
        raise ModelError("the model's name is empty", _CURE)
    try:
        config = AutoConfig.from_pretrained(source)
        kind = str(config.model_type)
        if kind == "florence2":
            return _florence(source, device)
        if kind == "blip":
            return _blip(source, device)
        if any("ForImageClassification" in name for name in config.architectures or ()) or kind == "timm_wrapper":
            return _tagger(source, device, threshold)
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001  # a broken folder fails in as many ways as there are readers
        if is_out_of_memory(error):
            raise DeviceError(f"{source} does not fit into the memory of {device}", "give --device cpu") from None
        reason = str(error).strip().partition("\n")[0]
        hint = _CURE if Path(source).exists() else f"download it (hf download {source}), or {_CURE}"
        raise ModelError(f"{source} cannot be loaded: {reason}", hint) from None
    raise ModelError(f"{source} is a {kind}, which writes no captions here", _CURE)


def require_threshold(value: float) -> float:
    """The probability from which a tag counts.

    Raises:
        ConfigError: it is no probability.
    """
    if not 0 <= value <= 1:
        raise ConfigError(
            f"--threshold is {value:g}, must be a probability from 0 to 1", f"give {THRESHOLD}, or leave it out"
        )
    return value


def _florence(source: str, device: str) -> Caption:
    from transformers import AutoProcessor, Florence2ForConditionalGeneration  # noqa: PLC0415

    processor: Any = AutoProcessor.from_pretrained(source)
    model = _whole(source, Florence2ForConditionalGeneration).to(device).eval()

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
    model = _whole(source, BlipForConditionalGeneration).to(device).eval()

    def caption(picture: Image.Image) -> str:
        inputs = processor(images=picture, return_tensors="pt").to(device)
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, num_beams=NUM_BEAMS, do_sample=False)
        return str(processor.decode(ids[0], skip_special_tokens=True))

    return caption


def _whole(source: str, kind: Any) -> Any:
    """A model of that class of transformers, which fills weights that are absent with random numbers.

    Raises:
        ModelError: some are absent.
    """
    model, info = kind.from_pretrained(source, output_loading_info=True)
    if missing := sorted(info["missing_keys"]):
        raise ModelError(f"{source} lacks {len(missing)} weights, such as {missing[0]}", _CURE)
    return model


def _tagger(source: str, device: str, threshold: float) -> Caption:
    """Tags by falling probability: each is judged by itself."""
    from transformers import AutoImageProcessor, AutoModelForImageClassification  # noqa: PLC0415

    processor: Any = AutoImageProcessor.from_pretrained(source)
    model = _whole(source, AutoModelForImageClassification).to(device).eval()
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
