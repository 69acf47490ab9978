"""The denoiser that is trained from scratch, told from its configuration. Never imports torch.

`model.denoiser` names the configuration; without it, it is that of the base model's own denoiser.
"""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.config.schema import ModelConfig
from shared.errors import ConfigError, ModelError
from shared.launch.supervisor import child_environment, python_module
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.models.pipeline_folder import read_json
from tasks.text_to_image.models.weights_header import Tensors, TensorShape

CONFIG = "config.json"
CLASS = "_class_name"
BETWEEN = (
    "in_channels",
    "out_channels",
    "cross_attention_dim",
    "addition_embed_type",
    "projection_class_embeddings_input_dim",
    "joint_attention_dim",
    "pooled_projection_dim",
    "cap_feat_dim",
)
"""What a denoiser shares with VAE and text encoders: it must be as in the base model's own."""
CURE = "give a config.json that diffusers' save_config has written, or a folder with one, in model.denoiser"
COUNTER = "tasks.text_to_image.weights.count_shapes"


def read(place: str) -> dict[str, Any]:
    """The configuration that `model.denoiser` names.

    Raises:
        ConfigError: there is none.
    """
    path = Path(place)
    try:
        found = read_json(path / CONFIG if path.is_dir() else path)
    except ModelError:
        raise ConfigError(f"model.denoiser {place} is no configuration of a denoiser", CURE) from None
    if CLASS not in found:
        raise ConfigError(f"model.denoiser {place} does not name its class as {CLASS}", CURE)
    return found


def of(settings: ModelConfig, family: Family, folder: Path | None) -> dict[str, Any]:
    """The configuration of the denoiser to be made. folder: of a diffusers pipeline, which has the base model's own.

    Raises:
        ConfigError: there is none, or the parts of the base model do not fit it.
        ModelError: the folder is damaged.
    """
    own = read_json(folder / family.denoiser / CONFIG) if folder else None
    if settings.denoiser is None:
        if own is None:
            raise ConfigError(
                f"model.path {settings.path} is a single file, which does not describe its denoiser", CURE
            )
        return own
    found = read(settings.denoiser)
    if folder is not None and own is not None:
        _require_fitting(found, own, family, folder)
    return found


def _require_fitting(found: Mapping[str, Any], own: Mapping[str, Any], family: Family, folder: Path) -> None:
    _, expected = read_json(folder / "model_index.json")[family.denoiser]
    if found[CLASS] != expected:
        raise ConfigError(f"model.denoiser is a {found[CLASS]}, and {folder} draws with a {expected}", CURE)
    differing = [key for key in BETWEEN if key in own and found.get(key) != own[key]]
    if differing:
        lines = "".join(f"\n       {key} is {found.get(key)}, must be {own[key]}" for key in differing)
        raise ConfigError(
            f"model.denoiser does not fit the VAE and the text encoders of {folder}:{lines}",
            "change these, or give another model.path",
        )
    if not family.is_described_by(found):
        raise ConfigError(
            f"model.denoiser describes another kind of model than {folder}, which is of {family.title}",
            "give the configuration of one of that family",
        )


def shapes(config: Mapping[str, Any]) -> Tensors:
    """The weights that a denoiser with this configuration has. Another process makes it, without memory for weights.

    Raises:
        ConfigError: none can be made.
    """
    return dict(_shapes(json.dumps(config, sort_keys=True)))


@functools.cache
def _shapes(config: str) -> Tensors:
    command, environment = python_module(COUNTER), child_environment(None)
    done = subprocess.run(command, env=environment, input=config, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(f"no denoiser can be made by the configuration of model.denoiser: {reason}", CURE)
    return {name: TensorShape(tuple(shape), "F32") for name, shape in json.loads(done.stdout).items()}
