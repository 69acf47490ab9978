"""A snapshot's file, proven before it comes near the resident pipeline.

A failed hot-swap deletes the live adapter, so everything that can be wrong with a file is found here: bytes that differ
from the manifest, keys of another model part, shapes that do not fit, NaN, a missing or contradictory alpha.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors import SafetensorError, safe_open

from shared.config import LoraConfig
from shared.diffusion.lora import LORA_FILE
from shared.errors import ModelError
from shared.publication import verify

PREFIX = "unet."
DOWN, UP = "lora_A.weight", "lora_B.weight"


@dataclass(frozen=True)
class AdapterFile:
    """A LoRA that fits the base model: weights keyed by module and half, as PEFT names them, and its scale."""

    folder: Path
    digest: str
    weights: dict[str, torch.Tensor]
    scale: float


def read(folder: Path, unet: UNet2DConditionModel, settings: LoraConfig) -> AdapterFile:
    """Read and prove a published snapshot.

    Raises:
        ModelError, RunFolderError: the first thing that is wrong with it, in words.
    """
    digest = verify(folder).digest()
    try:
        with safe_open(folder / LORA_FILE, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{LORA_FILE} cannot be read: {error}") from None
    scale = _scale(metadata, settings)
    foreign = [key for key in weights if not key.startswith(PREFIX)]
    if foreign:
        raise ModelError(f"{LORA_FILE} has keys outside the UNet, such as {foreign[0]}")
    weights = {key.removeprefix(PREFIX): value for key, value in weights.items()}
    _check_shapes(weights, unet, settings)
    broken = [key for key, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise ModelError(f"{LORA_FILE} has values that are not finite, in {broken[0]}")
    return AdapterFile(folder, digest, weights, scale)


def _scale(metadata: dict[str, str], settings: LoraConfig) -> float:
    """lora_alpha / rank from the file itself: a file without it would silently be loaded at scale 1."""
    try:
        stored = json.loads(metadata[LORA_ADAPTER_METADATA_KEY])
        rank, alpha = int(stored[f"{PREFIX}r"]), float(stored[f"{PREFIX}lora_alpha"])
    except (KeyError, ValueError, TypeError):
        raise ModelError(f"{LORA_FILE} does not state its rank and alpha") from None
    if (rank, alpha) != (settings.rank, settings.lora_alpha):
        raise ModelError(
            f"{LORA_FILE} has rank {rank} and alpha {alpha:g}, the run {settings.rank} and {settings.lora_alpha}"
        )
    return alpha / rank


def _check_shapes(weights: dict[str, torch.Tensor], unet: UNet2DConditionModel, settings: LoraConfig) -> None:
    expected = _expected_shapes(unet, settings)
    missing = expected.keys() - weights.keys()
    unknown = weights.keys() - expected.keys()
    if missing or unknown:
        sample = sorted(missing or unknown)[0]
        raise ModelError(
            f"{LORA_FILE} does not match lora.target_modules: {len(missing)} keys missing, {len(unknown)} unknown, "
            f"such as {sample}"
        )
    for key, value in weights.items():
        if value.shape != expected[key]:
            raise ModelError(f"{LORA_FILE}: {key} has shape {tuple(value.shape)}, must be {tuple(expected[key])}")


def _expected_shapes(unet: UNet2DConditionModel, settings: LoraConfig) -> dict[str, torch.Size]:
    """What an adapter on this UNet looks like: A (rank, in, …) and B (out, rank, …) for each targeted module."""
    shapes: dict[str, torch.Size] = {}
    for name, module in unet.named_modules():
        base = name.removesuffix(".base_layer")
        if base == name and hasattr(module, "base_layer"):
            continue  # the wrapper an adapter put around the layer
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)) and _is_target(base, settings):
            out_features, in_features, *kernel = module.weight.shape
            shapes[f"{base}.{DOWN}"] = torch.Size([settings.rank, in_features, *kernel])
            shapes[f"{base}.{UP}"] = torch.Size([out_features, settings.rank, *(1 for _ in kernel)])
    return shapes


def _is_target(name: str, settings: LoraConfig) -> bool:
    return any(name == target or name.endswith(f".{target}") for target in settings.target_modules)
