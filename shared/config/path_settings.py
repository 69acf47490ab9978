"""The settings that are paths: `~` is the home folder, a relative path is meant from the current folder.

One in the file of `evaluation.prompts` is meant from the config's folder: the two are written together.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from shared.config.schema import POCKET, POCKET_FLOW, Config, DataConfig, own_table, value_in
from shared.files import paths

HUB = "hub:"
NO_PICTURES = "none"
"""`data.path` of a run that has no pictures, in place of a folder: another trainer's LoRAs, judged by prompts alone."""
PROMPTS = "evaluation.prompts"
TRAINING_ADAPTER = "model.training_adapter"
DENOISER = "model.denoiser"
FOLDER_KEYS = (
    "model.vae",
    "model.single_file_config",
    TRAINING_ADAPTER,
    DENOISER,
    "evaluation.model",
    "evaluation.fashion_clip",
    "evaluation.visual",
    "evaluation.segmenter",
    "evaluation.judge",
    "evaluation.glyphs",
)
"""Settings that may name a local folder of a model's files, beside `model.path`."""
PATH_KEYS = (
    "run.output_dir",
    "model.path",
    *FOLDER_KEYS,
    "data.path",
    "data.regularization_path",
    "data.cache_dir",
    "lora.init_from",
    PROMPTS,
)
KEYWORDS = (POCKET, POCKET_FLOW, "efficientnet-lite0", "gradients", "dreamsim")
"""What the settings of models and encoders mean by themselves, whatever lies in the current folder."""


def expand(tree: dict[str, Any]) -> dict[str, str]:
    """Replace `~` in every path, in place; returns what is wrong with paths → its cure."""
    faults: dict[str, str] = {}
    for key in PATH_KEYS:
        section, _, name = key.partition(".")
        text = value_in(tree, key)
        if not isinstance(text, str) or text.startswith(HUB):
            continue
        expanded = tree[section][name] = paths.expand(text)
        if fault := paths.fault(expanded):
            faults[f"{key} is {text!r}, {fault[0]}"] = fault[1]
    return faults


def beside(tree: dict[str, Any], folder: Path) -> None:
    """Take the relative paths of a TOML file that are meant from its own folder, in place."""
    text = value_in(tree, PROMPTS)
    if isinstance(text, str) and text and not text.startswith("~"):
        tree["evaluation"]["prompts"] = str(folder / text)


def with_absolute_paths(config: Config, name: str) -> Config:
    """The settings of a run of that name, each path absolute."""
    models = {
        key: absolute
        for key in ("model.path", *FOLDER_KEYS)
        if (absolute := _absolute_if_there(config.value(key)))
        != config.value(key)  # else one not given would seem given
    }
    updates: dict[str, dict[str, Any]] = {
        "run": {"name": name, "output_dir": config.run.output_dir.resolve()},
        "data": _absolute_data(config.data),
        "lora": {"init_from": config.lora.init_from and os.path.abspath(config.lora.init_from)},  # noqa: PTH100
    }
    if prompts := config.value(PROMPTS):
        updates["evaluation"] = {"prompts": os.path.abspath(prompts)}  # noqa: PTH100
    if own := {
        key: Path(paths.expand(str(value))).resolve() for key, value in config.own or () if isinstance(value, Path)
    }:
        updates[own_table(config.run.task)] = own
    for key, value in models.items():
        updates.setdefault(key.partition(".")[0], {})[key.partition(".")[2]] = value
    return config.model_copy(
        update={section: getattr(config, section).model_copy(update=values) for section, values in updates.items()}
    )


def _absolute_if_there(path: str | None) -> str | None:
    """A local folder or file; hub ids and keywords stay as they are."""
    if path and path not in KEYWORDS and Path(path).exists():
        return str(Path(path).resolve())
    return path


def _absolute_data(data: DataConfig) -> dict[str, Any]:
    named = data.regularization_path
    return {
        "path": _absolute_data_set(data.path),
        "regularization_path": named if named in ("auto", "none") else _absolute_data_set(named),
        "cache_dir": data.cache_dir.resolve() if data.cache_dir else None,
    }


def _absolute_data_set(path: str) -> str:
    return path if path.startswith(HUB) or path == NO_PICTURES else str(Path(path).resolve())
