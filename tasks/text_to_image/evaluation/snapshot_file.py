"""A snapshot's file, checked before it is loaded into the resident pipeline.

A failed hot-swap deletes the loaded adapter, so every fault of a file is found here: bytes that differ from the
manifest, keys or shapes that do not fit the model, NaN, a missing or contradictory alpha.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY

from shared.config.schema import LoraConfig
from shared.errors import ModelError
from shared.files.publication import verify
from tasks.text_to_image.lora import lora, weights_file
from tasks.text_to_image.lora.lora import LORA_FILE


@dataclass(frozen=True)
class AdapterFile:
    """A LoRA that fits the base model: weights keyed as in the file, and the scale of each module."""

    folder: Path
    digest: str
    weights: dict[str, torch.Tensor]
    scales: dict[str, float]


def read(folder: Path, expected: dict[str, torch.Size], settings: LoraConfig) -> AdapterFile:
    """Read and check a published snapshot. expected: keys and shapes of the run's adapter.

    Raises:
        ModelError, RunFolderError: the file has a fault; the message names the first one.
    """
    digest = verify(folder).digest()
    weights, metadata = weights_file.read(folder / LORA_FILE)
    scales = _scales(expected, metadata, settings)
    _check_shapes({key: value.shape for key, value in weights.items()}, expected)
    broken = [key for key, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise ModelError(f"{LORA_FILE} has values that are not finite, in {broken[0]}")
    return AdapterFile(folder, digest, weights, scales)


def _scales(shapes: dict[str, torch.Size], metadata: dict[str, str], settings: LoraConfig) -> dict[str, float]:
    """The factor of each module's update, from the file itself: without it, updates would be loaded at scale 1."""
    try:
        stored = json.loads(metadata[LORA_ADAPTER_METADATA_KEY])
        stored_values = {module: lora.rank_and_alpha(module, stored) for module in lora.modules(shapes)}
        scales = {module: lora.scale(module, stored) for module in stored_values}
        parts = {module.partition(".")[0] for module in stored_values}
        variants = {(bool(stored[f"{part}.use_rslora"]), bool(stored[f"{part}.use_dora"])) for part in parts}
    except (KeyError, ValueError, TypeError):
        raise ModelError(f"{LORA_FILE} does not state its rank and alpha") from None
    for module, (rank, alpha) in stored_values.items():
        expected = settings.rank_and_alpha(convolution=lora.is_convolution(shapes[f"{module}.lora_A.weight"]))
        if (rank, alpha) != expected:
            raise ModelError(
                f"{LORA_FILE} has rank {rank} and alpha {alpha:g}, the run {expected[0]} and {expected[1]:g}, "
                f"for {module}"
            )
    if variants != {(settings.use_rslora, settings.use_dora)}:
        raise ModelError(f"{LORA_FILE} differs from the run in use_rslora or use_dora")
    return scales


def _check_shapes(shapes: dict[str, torch.Size], expected: dict[str, torch.Size]) -> None:
    missing = expected.keys() - shapes.keys()
    unknown = shapes.keys() - expected.keys()
    if missing or unknown:
        sample = sorted(missing or unknown)[0]
        raise ModelError(
            f"{LORA_FILE} does not match lora.target_modules: {len(missing)} keys missing, {len(unknown)} unknown, "
            f"such as {sample}"
        )
    for key, shape in shapes.items():
        if shape != expected[key]:
            raise ModelError(f"{LORA_FILE}: {key} has shape {tuple(shape)}, must be {tuple(expected[key])}")
