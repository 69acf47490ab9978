"""The LoRA: attached to the layers of the blocks by PEFT, and as the files of a snapshot, which PEFT loads.

A snapshot is a folder that `PeftModel.from_pretrained` takes: `adapter_model.safetensors` and `adapter_config.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn

from shared.config import targets
from shared.config.schema import Config
from shared.errors import ConfigError, ModelError
from tasks import data_order
from tasks.language_model.network import State

WEIGHTS, DESCRIPTION = "adapter_model.safetensors", "adapter_config.json"
NAME = "default"
PREFIX = "network."
"""Of parameters of `LanguageModel`, before the names that PEFT knows."""


def attach(network: nn.Module, config: Config) -> PeftModel:
    """Give the network a fresh LoRA of [lora]; its random numbers depend on `train.seed` alone.

    Raises:
        ConfigError: `lora.target_modules` names layers that the network does not have.
    """
    settings = config.lora
    torch.manual_seed(data_order.derive(config.train.seed, "adapter", 0))
    described = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.lora_alpha,  # pyright: ignore[reportArgumentType]  # PEFT divides it by the rank
        lora_dropout=settings.dropout,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        target_modules=_targets(network, settings.target_modules),
    )
    return get_peft_model(network, described)  # pyright: ignore[reportArgumentType, reportReturnType]


def described(network: PeftModel) -> dict[str, Any]:
    """The content of `adapter_config.json`, the same whenever it is written."""
    tree: dict[str, Any] = network.peft_config[NAME].to_dict()
    chosen = tree["target_modules"]
    return tree | {
        "target_modules": chosen if isinstance(chosen, str) else sorted(chosen),
        "inference_mode": True,
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
    }


def save(folder: Path, network: PeftModel, description: dict[str, Any], weights: State) -> None:
    """Write the files of a snapshot. weights: trained parameters of a `LanguageModel`."""
    own = {name.removeprefix(PREFIX): value for name, value in weights.items()}
    state: State = get_peft_model_state_dict(network, state_dict=own, save_embedding_layers=False)
    write(folder, description, state)


def write(folder: Path, description: dict[str, Any], state: State) -> None:
    """Write the files of a snapshot. state: by the names that PEFT's files have."""
    save_file({name: value.contiguous() for name, value in state.items()}, folder / WEIGHTS, {"format": "pt"})
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2, default=str), encoding="utf-8")


def load(folder: Path, network: PeftModel) -> None:
    """Put the LoRA of a snapshot in place of the one that the network has.

    Raises:
        ModelError: it is of another network, or of other settings.
    """
    state = load_file(folder / WEIGHTS)
    there = get_peft_model_state_dict(network, save_embedding_layers=False)
    odd = state.keys() ^ there.keys() or {name for name in state if state[name].shape != there[name].shape}
    if odd:
        raise ModelError(
            f"{folder / WEIGHTS} does not fit the model: {sorted(odd)[0]} is missing or of another shape",
            "restore the snapshot",
        )
    set_peft_model_state_dict(network, state)


def set_strength(network: nn.Module, strength: float) -> None:
    """How much of the LoRA is added, 1: all of it."""
    for layer in network.modules():
        if isinstance(layer, LoraLayer):
            layer.set_scale(NAME, strength)


def average(snapshots: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Fill a folder like a snapshot's: the mean of what each LoRA adds, B·A, brought to their rank.

    Returns facts for its manifest: the share of the exact mean's norm that this cuts off.

    Raises:
        ModelError: they are DoRAs.
    """
    states = [load_file(snapshot / WEIGHTS) for snapshot in snapshots]
    if others := [name for name in states[0] if not name.endswith((".lora_A.weight", ".lora_B.weight"))]:
        raise ModelError(
            f"only plain LoRAs have an average, and the snapshots hold {others[0]}", "set evaluation.averages = 0"
        )
    mean, lost, whole = State(), 0.0, 0.0
    for down_name in (name for name in states[0] if name.endswith(".lora_A.weight")):
        up_name = down_name.replace(".lora_A.", ".lora_B.")
        down = torch.cat([state[down_name].double() for state in states])
        up = torch.cat([state[up_name].double() for state in states], dim=1) / len(states)
        left, core_left = torch.linalg.qr(up)
        right, core_right = torch.linalg.qr(down.T)
        inner_left, values, inner_right = torch.linalg.svd(core_left @ core_right.T, full_matrices=False)
        first, rank = states[0][down_name], len(states[0][down_name])
        root = values[:rank].sqrt()
        mean[down_name], mean[up_name] = torch.zeros_like(first), torch.zeros_like(states[0][up_name])
        mean[down_name][: len(root)] = (root[:, None] * (inner_right[:rank] @ right.T)).to(first.dtype)
        mean[up_name][:, : len(root)] = (left @ (inner_left[:, :rank] * root)).to(first.dtype)
        lost, whole = lost + float(values[rank:].square().sum()), whole + float(values.square().sum())
    write(folder, json.loads((snapshots[0] / DESCRIPTION).read_text(encoding="utf-8")), mean)
    return {"truncation": (lost / whole) ** 0.5 if whole else 0.0}


def _targets(network: nn.Module, wanted: Sequence[str]) -> str | list[str]:
    """All linear layers of the blocks where nothing else is asked for, else ends of modules' names."""
    if tuple(wanted) in (targets.ATTENTION, (targets.ALL_LINEAR,)):
        return targets.ALL_LINEAR
    names = {name for name, part in network.named_modules() if not list(part.children())}
    unknown = [end for end in wanted if not any(f".{name}".endswith(f".{end}") for name in names)]
    if unknown:
        ends = sorted({name.rpartition(".")[2] for name in names if name.rpartition(".")[2].islower()})
        raise ConfigError(
            f"lora.target_modules has {', '.join(unknown)}, which the model does not have; it has {', '.join(ends)}",
            "give ends of these names, or leave it out: then every linear layer of the blocks gets an adapter",
        )
    return list(wanted)
