"""What a LoRA of another program tells of its training: rank, alpha, base model, steps, learning rate.

The rank is that of its tensors; the rest is what its header says. What it does not say is left out: our own defaults
are no facts about it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from shared.errors import ConfigError
from tasks.text_to_image.models import lora_file
from tasks.text_to_image.models.lora_file import LoraFile

NUMBERS = {
    "lora_alpha": "ss_network_alpha",
    "set_learning_rate": "ss_learning_rate",
    "max_train_steps": "ss_max_train_steps",
}
"""Detail of a manifest → kohya's name of it. The learning rate is the one that was set: a scheduler may change it."""
UNKNOWN = ("", "None")


def training_facts(place: Path) -> dict[str, Any]:
    """place: the LoRA's file, or PEFT's folder. Empty where it cannot be read, or says nothing."""
    try:
        file = lora_file.look(place)
    except (ConfigError, OSError):
        return {}
    return dict(_facts(file))


def _facts(file: LoraFile) -> Iterator[tuple[str, Any]]:
    ranks = sorted({module.rank for module in file.modules.values()})
    if ranks:
        yield "rank", ranks[0] if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"
    told = {name: _number(file.metadata.get(key, "")) for name, key in NUMBERS.items()}
    if told["lora_alpha"] is None:
        told["lora_alpha"] = _number(_one(file.settings, "lora_alpha"))
    yield from ((name, value) for name, value in told.items() if value is not None)
    base = file.metadata.get("ss_sd_model_name") or _one(file.settings, "base_model_name_or_path")
    if base not in UNKNOWN:
        is_path = base.startswith(("/", "~", ".")) or PureWindowsPath(base).is_absolute()
        yield "base_model", PureWindowsPath(base).name if is_path else base


def _one(settings: Mapping[str, Any], name: str) -> str:
    """Of PEFT's configuration, where all parts have the same; else empty."""
    values = {str(value) for key, value in settings.items() if key.rpartition(".")[2] == name}
    return values.pop() if len(values) == 1 else ""


def _number(text: str) -> int | float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else value
