"""Loads the image encoders: a CLIP or SigLIP (pictures and words), a DINOv2 (pictures), EfficientNet-Lite0 (pictures,
comes with Darkroom), or one of `optional`.

Each comes with a record of model, revision and weights digest. What cannot be had raises ModelError within a bounded
time. Only safetensors are read and no foreign code runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from shared.errors import ModelError
from shared.files.combined_digest import combined_digest
from shared.files.json_text import parse_json
from shared.files.publication import sha256
from tasks.text_to_image.encoders import optional
from tasks.text_to_image.encoders.efficientnet_lite0 import network as efficientnet_lite0
from tasks.text_to_image.encoders.encoder import Encoder, EncoderRecord, unable
from tasks.text_to_image.encoders.files import WEIGHTS, first_line, locate, weights_in

VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")


def load_encoder(source: str, device: str = "cpu") -> Encoder:
    """Load from `pocket`, `efficientnet-lite0`, `dreamsim`, a folder, the cache or the hub, in float32.

    Raises:
        ModelError: it cannot be had, with the reason, after a few network timeouts at most.
    """
    if source == optional.DREAMSIM:
        return optional.load_dreamsim(device)
    if source == efficientnet_lite0.NAME:
        return efficientnet_lite0.load(device)
    folder = locate(source)
    weights = weights_in(folder)
    if not weights:
        raise ModelError(f"encoder {source} has no model*.safetensors", "write it with `save_pretrained`")
    if (folder / optional.OPEN_CLIP_CONFIG).is_file() and not _is_readable_by_transformers(folder):
        return optional.load_open_clip(folder, record_of(source, folder, weights), device)
    model, processor = read_model(folder, source, AutoModel)
    model.to(device).eval()
    native = sorted(folder.glob(WEIGHTS[0]))
    return Encoder(
        record=record_of(source, folder, native),
        edge=_input_edge(processor),
        mean=tuple(processor.image_mean),
        std=tuple(processor.image_std),
        see=lambda pixel_values: _see(model, pixel_values),
        read=_reader(model, folder, source),
        device=device,
        patches=lambda pixel_values: _patches(model, pixel_values),
    )


def record_of(source: str, folder: Path, weights: list[Path]) -> EncoderRecord:
    """Which files they are, and of which commit of the hub."""
    revision = folder.name if folder.parent.name == "snapshots" else None
    digest = sha256(weights[0]) if len(weights) == 1 else combined_digest(sha256(path) for path in weights)
    return EncoderRecord(model=source, revision=revision, digest=digest)


def _is_readable_by_transformers(folder: Path) -> bool:
    """False when there are no weights in its format, or the repository asks for its own code to be run."""
    try:
        config = parse_json((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return any(folder.glob(WEIGHTS[0])) and "auto_map" not in config


def read_model(folder: Path, source: str, kind: Any) -> tuple[Any, Any]:
    """(model, image processor) from a complete folder. kind: the Auto class of transformers that reads it.

    Raises:
        ModelError: the folder is broken or incomplete.
    """
    try:
        model, info = kind.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    except Exception as error:  # a broken folder fails in as many ways as there are readers
        raise ModelError(
            f"encoder {source} cannot be loaded: {first_line(error)}", "download or copy the whole folder again"
        ) from error
    if missing := sorted(info["missing_keys"]):  # transformers would fill them with random numbers
        raise ModelError(
            f"encoder {source} lacks {len(missing)} weights, such as {missing[0]}",
            "download or copy the whole folder again",
        )
    return model, processor


def _see(model: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """The projected embedding where there is one, else the class token."""
    if hasattr(model, "get_image_features"):
        return model.get_image_features(pixel_values=pixel_values).pooler_output
    return model(pixel_values=pixel_values).last_hidden_state[:, 0]


def _patches(model: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """The last layer's tokens of the picture's patches; what other tokens there are stand before them."""
    tower = model.vision_model if hasattr(model, "vision_model") else model
    side = pixel_values.shape[-1] // tower.config.patch_size
    return tower(pixel_values=pixel_values).last_hidden_state[:, -side * side :]


def _reader(model: Any, folder: Path, source: str) -> Callable[[str], torch.Tensor]:
    """What embeds a text; one that cannot be had says so when it is asked, for pictures can do without."""
    if not hasattr(model, "get_text_features"):
        return unable(ModelError(f"{source} reads no text", "configure a CLIP as the fashion encoder"))
    if not any((folder / name).is_file() for name in VOCABULARIES):  # transformers would make up an empty one
        return unable(ModelError(f"{source} has no tokenizer", f"add one of {', '.join(VOCABULARIES)}"))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # noqa: BLE001 as many ways to fail as there are tokenizers
        reason = f"the tokenizer of {source} cannot be loaded: {first_line(error)}"
        return unable(ModelError(reason, "pip install sentencepiece protobuf, which some tokenizers need"))
    is_siglip = model.config.model_type.startswith("siglip")  # it was trained to read its padding, without a mask
    names = ("input_ids",) if is_siglip else ("input_ids", "attention_mask")
    max_length = model.config.text_config.max_position_embeddings

    def read(text: str) -> torch.Tensor:
        tokens = tokenizer(
            text,
            truncation=True,
            padding="max_length" if is_siglip else False,
            max_length=max_length,
            return_tensors="pt",
        )
        return model.get_text_features(**{name: tokens[name].to(model.device) for name in names}).pooler_output

    return read


def _input_edge(processor: Any) -> int:
    """The edge of the square the model was trained on, pixels."""
    size = processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size
    return int(size["height"] if "height" in size else size["shortest_edge"])
