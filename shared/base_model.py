"""Where a base model is, checked before anything is loaded.

`pocket` is the embedded miniature Stable Diffusion; a folder must be a diffusers pipeline; a file must be
`.safetensors`; anything else of the form `owner/name` is a hub id, which only loading can check.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from shared.config import POCKET
from shared.errors import ModelError
from shared.publication import sha256
from shared.records import combined_digest

POCKET_STABLE_DIFFUSION = Path(__file__).resolve().parents[1] / "pocket" / "stable-diffusion"
POCKET_CLIP = Path(__file__).resolve().parents[1] / "pocket" / "clip"
SUPPORTED = "StableDiffusionPipeline"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve(path: str) -> str:
    """The path or hub id to load from: `pocket` becomes its folder."""
    return str(POCKET_STABLE_DIFFUSION) if path == POCKET else path


def identify(path: str) -> dict[str, str]:
    """What `run.json` says of the base model: its path and, where it is local, a fingerprint.

    Raises:
        ModelError: a local path that is no model, or a text that is neither a path nor a hub id.
    """
    local = Path(resolve(path))
    if local.is_dir():
        return {"path": path, "fingerprint": _folder_fingerprint(local)}
    if local.is_file():
        if local.suffix != ".safetensors":
            raise ModelError(
                f"{local} is not a .safetensors file",
                "pickled checkpoints are never opened; convert it first",
            )
        return {"path": path, "fingerprint": sha256(local)}
    if HUB_ID.fullmatch(path) and not local.parent.is_dir():
        return {"path": path}
    raise ModelError(f"model.path {path!r} does not exist", "give a diffusers folder, a .safetensors file or a hub id")


def _folder_fingerprint(folder: Path) -> str:
    """sha256 over the small files' content and the weights' names and sizes: cheap, and changes with any re-save."""
    index = folder / "model_index.json"
    try:
        pipeline = json.loads(index.read_text(encoding="utf-8"))["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(
            f"{folder} is not a diffusers model folder",
            "it needs a model_index.json; `save_pretrained` writes one",
        ) from None
    if pipeline != SUPPORTED:
        raise ModelError(
            f"{folder} is a {pipeline}; only {SUPPORTED} (SD 1.x, 2.x) is supported", "choose an SD 1.x or 2.x model"
        )
    missing = [
        part for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler") if not (folder / part).is_dir()
    ]
    if missing:
        raise ModelError(f"{folder} lacks {', '.join(missing)}", "download the whole folder again")
    return combined_digest(
        f"{path.relative_to(folder)}:{sha256(path) if path.suffix == '.json' else path.stat().st_size}"
        for path in folder.rglob("*")
        if path.is_file()
    )
