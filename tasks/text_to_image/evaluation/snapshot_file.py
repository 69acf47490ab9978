"""A snapshot's file, checked before it is loaded into the resident pipeline.

The file of another trainer is written again in the form of our own, into a folder that lives as long as the object.

A failed hot-swap deletes the loaded adapter, so every fault of a file is found here: bytes that differ from the
manifest, keys or shapes that do not fit the model, NaN, a missing or contradictory alpha.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY

from shared.config.schema import LoraConfig
from shared.errors import ConfigError, ModelError
from shared.files.publication import verify
from tasks.text_to_image.lora import fitted, lora, weights_file
from tasks.text_to_image.lora.lora import LORA_FILE
from tasks.text_to_image.models import lora_file
from tasks.text_to_image.models.adaptable import Base


@dataclass(frozen=True)
class AdapterFile:
    """A LoRA that fits the base model: weights keyed as in the file, and the scale of each module."""

    folder: Path
    digest: str
    weights: dict[str, torch.Tensor]
    scales: dict[str, float]
    keeps: Any = field(default=None, compare=False)
    """What must live as long as the file is needed: its temporary folder, if it lies in one."""

    @property
    def shapes(self) -> dict[str, torch.Size]:
        """Of every weight: files that are equal in this can take each other's place in a loaded adapter."""
        return {key: value.shape for key, value in self.weights.items()}

    @property
    def adapts_text_encoder(self) -> bool:
        """Whether prompts are encoded otherwise with it."""
        return any(lora.is_text_encoder(key) for key in self.weights)

    @property
    def is_dora(self) -> bool:
        """Whether it has learnt magnitudes."""
        return any(lora.MAGNITUDE in key for key in self.weights)


def read(folder: Path, expected: dict[str, torch.Size] | Base, settings: LoraConfig) -> AdapterFile:
    """Read and check a published snapshot.

    expected: keys and shapes of the run's adapter; the base model, where another trainer makes the files, each of which
    may adapt other modules.

    Raises:
        ModelError, RunFolderError: the file has a fault; the message names the first one.
    """
    digest = verify(folder).digest()
    if isinstance(expected, Base):
        return _of_another_trainer(folder, digest, expected)
    weights, metadata = weights_file.read(folder / LORA_FILE)
    scales = _scales(expected, metadata, settings)
    _check_shapes({key: value.shape for key, value in weights.items()}, expected)
    broken = [key for key, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise ModelError(f"{LORA_FILE} has values that are not finite, in {broken[0]}")
    return AdapterFile(folder, digest, weights, scales)


def _of_another_trainer(folder: Path, digest: str, base: Base) -> AdapterFile:
    """The message of an error names the file, which a person knows, and not the snapshot's folder."""
    try:
        found = fitted.fit(lora_file.look_in(folder), base)
    except (ConfigError, ModelError) as error:
        raise ModelError(str(error).replace(f"{folder}/", "").replace(f"{folder} ", "it "), error.hint) from None
    keeps = tempfile.TemporaryDirectory(prefix="darkroom-")
    written = Path(keeps.name) / folder.name
    lora.write(written, found.weights, found.metadata)
    return AdapterFile(written, digest, found.weights, found.scales, keeps)


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
