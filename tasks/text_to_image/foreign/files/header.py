"""What the header of a LoRA's file says: which program wrote it, after how many steps and epochs.

kohya writes `ss_steps` and `ss_epoch`, ai-toolkit `training_info`, SimpleTuner `global_step`. OneTrainer, diffusers and
PEFT write no number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KOHYA, AI_TOOLKIT, ONE_TRAINER, SIMPLE_TUNER = "kohya sd-scripts", "ai-toolkit", "OneTrainer", "SimpleTuner"
DARKROOM = "Darkroom"


@dataclass(frozen=True)
class Facts:
    """Of one file. None, or empty: it does not say."""

    trainer: str = ""
    step: int | None = None
    epoch: int | None = None
    session: str = ""
    """Of the trainer: files of one training have the same."""


def read(metadata: Mapping[str, str]) -> Facts:
    """metadata: the texts of a safetensors header."""
    info = _tree(metadata.get("training_info"))
    steps = (metadata.get("ss_steps"), info.get("step"), metadata.get("global_step"))
    epochs = (metadata.get("ss_epoch"), info.get("epoch"))
    session = metadata.get("ss_session_id") or metadata.get("ss_training_started_at") or ""
    return Facts(_trainer(metadata, info), _first(steps), _first(epochs), session)


def _trainer(metadata: Mapping[str, str], info: Mapping[str, Any]) -> str:
    software = _tree(metadata.get("software")).get("name")
    if info or software == AI_TOOLKIT:
        return AI_TOOLKIT
    if any(key.startswith("ot_") for key in metadata):
        return ONE_TRAINER
    if metadata.get("modelspec.description", "").endswith(f"trained with {DARKROOM}"):
        return DARKROOM
    if "global_step" in metadata:
        return SIMPLE_TUNER
    return KOHYA if "ss_network_module" in metadata else ""


def _first(values: tuple[Any, ...]) -> int | None:
    """The first that is a number of steps or epochs: 0 and what is none say nothing."""
    for value in values:
        text = str(value).strip()
        if text.isdecimal() and int(text) > 0:
            return int(text)
    return None


def _tree(text: str | None) -> dict[str, Any]:
    """A JSON object in a text; empty where there is none."""
    try:
        tree: Any = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}  # pyright: ignore[reportUnknownVariableType]
