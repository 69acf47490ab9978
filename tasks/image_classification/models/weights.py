"""The weights that training begins from: `model.path`, or those on the hub of a known architecture. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from shared.config.loading import own_settings
from shared.config.schema import POCKET, Config
from shared.errors import ModelError
from shared.files.combined_digest import combined_digest
from shared.files.json_text import parse_json
from shared.files.publication import sha256
from tasks.image_classification.models import architectures, pickled
from tasks.image_classification.settings import Settings

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
CONVERTED = (".pth", ".pt", ".bin")
"""Endings of files of tensors that other trainers save by pickle: read once, as tensors and nothing else."""
CONFIG, WEIGHTS = "config.json", "model.safetensors"


def source(config: Config) -> str | None:
    """A folder, a file of tensors for `arch`, or a hub id; None: training begins from random weights."""
    settings = own_settings(config, Settings)
    if config.model.path != POCKET:
        return config.model.path
    return architectures.hub_id(settings) if settings.pretrained else None


def is_file_of_tensors(place: str) -> bool:
    """Whether it has no configuration beside it, so that `arch` says what network it is of."""
    return Path(place).suffix.lower() in (*CONVERTED, ".safetensors")


def require(config: Config) -> None:
    """Check that there is such a network, and that its weights are here if they are to be.

    Raises:
        ConfigError: `arch` names none.
        ModelError: no weights of an image classifier lie at `model.path`, or something else than weights.
    """
    place, settings = source(config), own_settings(config, Settings)
    if place is None or is_file_of_tensors(place):
        architectures.of(settings)
    if place is None:
        return
    path = Path(place)
    if is_file_of_tensors(place):
        if not path.is_file():
            raise ModelError(f"model.path is {place}, where there is no file", "give a file of tensors")
        if others := pickled.foreign(path):
            named = ", ".join(others[:3]) + (" …" if len(others) > 3 else "")
            raise ModelError(
                f"model.path is {place}, which holds more than tensors: {named}",
                "save the network's state_dict, and nothing else, with torch.save or safetensors",
            )
    elif path.is_dir():
        _require_classifier(path)
    elif path.exists() or not HUB_ID.fullmatch(place):
        raise ModelError(
            f"model.path is {place}, which is neither a folder nor a file of tensors ({', '.join(CONVERTED)}, "
            ".safetensors), nor a hub id",
            "give one of them, or leave model.path out to begin from random weights",
        )


def identify(config: Config) -> dict[str, str]:
    """The record of what training begins from; empty where that is nothing."""
    place = source(config)
    if place is None:
        return {}
    path = Path(place)
    if path.is_dir():
        files = sorted([*path.glob("*.json"), *path.glob("*.safetensors")])
        return {"path": place, "fingerprint": combined_digest(f"{file.name}:{sha256(file)}" for file in files)}
    return {"path": place, "fingerprint": sha256(path)} if path.is_file() else {"path": place}


def _require_classifier(folder: Path) -> None:
    try:
        tree = parse_json((folder / CONFIG).read_text(encoding="utf-8"))
        kind = tree["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(
            f"model.path is {folder}, which holds no {CONFIG} of transformers",
            "give a folder that save_pretrained has written, or a snapshot's folder",
        ) from None
    if kind not in {*architectures.TYPES, "timm_wrapper"}:
        raise ModelError(
            f"model.path is {folder}, a {kind}, which is no image classifier that is read",
            f"give one of {', '.join(sorted(architectures.TYPES))}",
        )
    if not list(folder.glob("*.safetensors")):
        raise ModelError(f"{folder} holds no weights as .safetensors", "save it again with a current transformers")
