"""All weights of a denoiser: made fresh, copied, written to a file and read from one.

A snapshot's folder is one that diffusers' `from_pretrained` of the denoiser's class loads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import diffusers
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shared.errors import ConfigError, ModelError
from tasks import data_order

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
CONFIG_FILE = "config.json"
CURE = "give a config.json that diffusers' save_config has written in model.denoiser"

State = dict[str, Tensor]


def of_config(config: Mapping[str, Any]) -> nn.Module:
    """A denoiser with this configuration, and weights by torch's present random state.

    Raises:
        ConfigError: diffusers has no such class, or the class takes no such configuration.
    """
    kind = getattr(diffusers, str(config.get("_class_name")), None)
    if kind is None or not hasattr(kind, "from_config"):
        raise ConfigError(f"diffusers has no denoiser {config.get('_class_name')}", CURE)
    try:
        return cast("nn.Module", kind.from_config(dict(config)))
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, ZeroDivisionError) as error:
        raise ConfigError(f"a {config['_class_name']} with this configuration cannot be made: {error}", CURE) from error


def fresh(config: Mapping[str, Any], seed: int) -> nn.Module:
    """A denoiser with weights that depend on the seed only, fp32, on the CPU. The random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(data_order.derive(seed, "denoiser", 0))
        return of_config(config).eval()


def state(denoiser: nn.Module) -> State:
    """A copy of all weights on the host, fp32."""
    return {
        name: value.detach().to("cpu", torch.float32, copy=True).contiguous()
        for name, value in denoiser.state_dict().items()
    }


def require_same(weights: Mapping[str, Tensor], denoiser: nn.Module, whose: str) -> None:
    """Raises ModelError where weights are not those of a denoiser of this shape. whose: `the checkpoint`."""
    own = {name: value.shape for name, value in denoiser.state_dict().items()}
    if differing := sorted(own.keys() ^ weights.keys()):
        raise ModelError(
            f"{whose} holds another denoiser than this run's: {differing[0]} is in one of them only, and "
            f"{len(differing) - 1} more"
        )
    for name, shape in own.items():
        if weights[name].shape != shape:
            raise ModelError(f"{whose}: {name} has shape {tuple(weights[name].shape)}, must be {tuple(shape)}")


def put(weights: Mapping[str, Tensor], denoiser: nn.Module) -> None:
    """Copy weights into a denoiser, in its own precision and on its device."""
    with torch.no_grad():
        for name, value in denoiser.state_dict().items():
            value.copy_(weights[name])


def write(folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any], dtype: torch.dtype) -> None:
    """Write weights and configuration. config: diffusers' own.

    The place that a denoiser was loaded from is not in it: it may be a folder of this machine.

    Raises:
        ModelError: a weight is too large for this precision.
    """
    folder.mkdir(parents=True, exist_ok=True)
    converted = {
        name: value.to(dtype).contiguous() if value.is_floating_point() else value for name, value in weights.items()
    }
    if broken := [name for name, value in converted.items() if not torch.isfinite(value).all()]:
        raise ModelError(f"a weight is too large for 16 bits: {broken[0]}", 'set train.snapshot_dtype = "bf16"')
    save_file(converted, folder / WEIGHTS_FILE, {"format": "pt"})
    described = {name: value for name, value in config.items() if name != "_name_or_path"}
    (folder / CONFIG_FILE).write_text(json.dumps(described, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read(folder: Path) -> State:
    """The weights of a snapshot.

    Raises:
        ModelError: they cannot be read, or are not finite.
    """
    try:
        weights = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{WEIGHTS_FILE} cannot be read: {error}") from None
    if broken := [name for name, value in weights.items() if not torch.isfinite(value).all()]:
        raise ModelError(f"{WEIGHTS_FILE} has values that are not finite, in {broken[0]}")
    return weights


def average(states: Sequence[Mapping[str, Tensor]]) -> State:
    """The mean of each weight, in the precision of the first."""
    return {
        name: torch.stack([one[name].double() for one in states]).mean(dim=0).to(value.dtype)
        for name, value in states[0].items()
    }
