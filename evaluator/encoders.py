"""The learned eyes: a CLIP (pictures and words) or a DINOv2 (pictures), from a folder, the hub's cache or the hub.

Promises: unit-norm float32 vectors; a picture's vector depends on that picture alone (one picture a batch), so that
the same snapshot always gets the same numbers; a record of model, revision and weights digest. What cannot be had
raises ModelError within a bounded time. Only safetensors are read and no foreign code runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch.nn.functional import normalize
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from shared.base_model import POCKET_CLIP
from shared.config import POCKET
from shared.errors import ModelError
from shared.publication import sha256
from shared.records import combined_digest

Vector = NDArray[np.float32]

HUB = HfApi()
HUB_FILES = ["*.json", "*.txt", "model*.safetensors"]
HUB_TIMEOUT_SECONDS = 10.0


class EncoderRecord(BaseModel):
    """Which encoder gave a metric its numbers, for every result; or why there is none."""

    model_config = ConfigDict(frozen=True)

    model: str = Field(description="Hub id or folder as configured, or the name of a method without weights.")
    revision: str | None = Field(default=None, description="Commit of the hub's snapshot; None for a folder.")
    digest: str | None = Field(default=None, description="sha256 of the weights; None without weights.")
    reason: str | None = Field(default=None, description="Why the encoder cannot be had; None when it can.")


class Encoder:
    """One model with its own preprocessing. Built by `load_encoder`."""

    def __init__(self, model: Any, processor: Any, tokenizer: Any | None, record: EncoderRecord) -> None:
        self.record = record
        self._model, self._tokenizer = model, tokenizer
        self._edge = _input_edge(processor)
        self._mean, self._std = np.float32(processor.image_mean), np.float32(processor.image_std)

    @torch.inference_mode()
    def embed_image(self, picture: Image.Image) -> Vector:
        """The picture's unit vector, (D,): CLIP's projected embedding, else the class token."""
        pixel_values = self._pixel_values(picture)
        if hasattr(self._model, "get_image_features"):
            return _unit(self._model.get_image_features(pixel_values=pixel_values).pooler_output)
        return _unit(self._model(pixel_values=pixel_values).last_hidden_state[:, 0])

    @torch.inference_mode()
    def embed_text(self, text: str) -> Vector:
        """The text's unit vector in the pictures' space, (D,); what exceeds the text tower's length is cut.

        Raises:
            ModelError: the model has no text tower.
        """
        if self._tokenizer is None:
            raise ModelError(f"{self.record.model} reads no text", "configure a CLIP as the fashion encoder")
        max_length = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
        inputs = {name: tokens[name].to(self._model.device) for name in ("input_ids", "attention_mask")}
        return _unit(self._model.get_text_features(**inputs).pooler_output)

    def _pixel_values(self, picture: Image.Image) -> torch.Tensor:
        """The whole picture as the vision tower eats it: (1, 3, edge, edge) float32. The only resizer in use."""
        square = pad_to_square(picture).resize((self._edge, self._edge), Image.Resampling.BICUBIC)
        pixels = (np.asarray(square, dtype=np.float32) / 255 - self._mean) / self._std
        return torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self._model.device)


def load_encoder(source: str, device: str = "cpu") -> Encoder:
    """Load from `pocket`, a folder, the cache or the hub, in float32.

    Raises:
        ModelError: it cannot be had, with the reason, after a few network timeouts at most.
    """
    folder = locate(source)
    weights = sorted(folder.glob("model*.safetensors"))
    if not weights:
        raise ModelError(f"encoder {source} has no model*.safetensors", "write it with `save_pretrained`")
    model, processor, tokenizer = _read(folder, source)
    revision = folder.name if folder.parent.name == "snapshots" else None
    digest = sha256(weights[0]) if len(weights) == 1 else combined_digest(sha256(path) for path in weights)
    record = EncoderRecord(model=source, revision=revision, digest=digest)
    return Encoder(model.to(device).eval(), processor, tokenizer, record)


def locate(source: str) -> Path:
    """The folder of `source`: `pocket`, a folder as it is, else a hub id from the cache, else downloaded.

    Raises:
        ModelError: there is none.
    """
    folder = POCKET_CLIP if source == POCKET else Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or (len(folder.parts) > 1 and folder.parent.is_dir()):
        raise ModelError(f"encoder {source} is not a folder", "give a folder that exists, or a hub id owner/name")
    return _cached(source) or _download(source)


def pad_to_square(picture: Image.Image) -> Image.Image:
    """The whole picture in RGB, centred on a square of its border's median colour.

    CLIP's own centre crop would cut the hem and the collar off a tall garment.
    """
    rgb = picture.convert("RGB")
    if rgb.width == rgb.height:
        return rgb
    pixels = np.asarray(rgb)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = np.median(border, axis=0).round().astype(int).tolist()
    edge = max(rgb.size)
    square = Image.new("RGB", (edge, edge), (red, green, blue))
    square.paste(rgb, ((edge - rgb.width) // 2, (edge - rgb.height) // 2))
    return square


def _read(folder: Path, source: str) -> tuple[Any, Any, Any | None]:
    """(model, image processor, tokenizer or None) from a complete folder."""
    try:
        model, info = AutoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
        reads_text = hasattr(model, "get_text_features")
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True) if reads_text else None
    except Exception as error:  # a broken folder fails in as many ways as there are readers
        raise ModelError(f"encoder {source} cannot be loaded: {_first_line(error)}", "is it complete?") from error
    if missing := sorted(info["missing_keys"]):  # transformers would fill them with random numbers
        raise ModelError(f"encoder {source} lacks {len(missing)} weights, such as {missing[0]}", "is it complete?")
    return model, processor, tokenizer


def _cached(hub_id: str) -> Path | None:
    """The hub's snapshot on this machine, if its weights are there; asks no network."""
    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=HUB_FILES, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except ValueError as error:
        raise ModelError(f"encoder {hub_id} is neither a folder nor a hub id", "a hub id is owner/name") from error
    return folder if any(folder.glob("model*.safetensors")) else None


def _download(hub_id: str) -> Path:
    """The hub's newest snapshot. It is asked for its commit first, because only that question can be timed out."""
    try:
        revision = HUB.model_info(hub_id, timeout=HUB_TIMEOUT_SECONDS).sha
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=HUB_FILES))
    except Exception as error:  # the hub's client also raises its HTTP library's own errors
        reason = f"encoder {hub_id} is not in the cache, and the hub did not give it: {_first_line(error)}"
        raise ModelError(reason, f"where there is a network: hf download {hub_id}") from error


def _input_edge(processor: Any) -> int:
    """The edge of the square the model was trained on, pixels."""
    size = processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size
    return int(size["height"] if "height" in size else size["shortest_edge"])


def _unit(embedding: torch.Tensor) -> Vector:
    """(1, D) of any precision to (D,) float32 of length one."""
    return normalize(embedding[0].float(), dim=0).cpu().numpy()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
