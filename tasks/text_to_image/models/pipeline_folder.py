"""The configuration files of a diffusers folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.errors import ModelError
from shared.files.json_text import parse_json


def read_json(path: Path) -> dict[str, Any]:
    """A configuration file of a model folder.

    Raises:
        ModelError: it is missing or damaged.
    """
    try:
        return dict(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise not_a_model(path) from None


def not_a_model(file: Path) -> ModelError:
    """The error where a file is missing that every pipeline has."""
    return ModelError(
        f"{file.parent} is not a diffusers model folder",
        f"give a folder with a {file.name}, as `save_pretrained` writes it",
    )
