"""The adapter of `lora.init_from`, converted to the names, ranks and scales of the run's adapter.

A file's update is its scale × B A; the run's scale may differ, so B is multiplied by their quotient. If the file's rank
is smaller, the additional rows of A keep their initial values and the additional columns of B are zero: the update is
the same, and all of it is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from shared.config.schema import LoraConfig
from shared.errors import ConfigError, ModelError
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora
from tasks.text_to_image.models import lora_file
from tasks.text_to_image.models.lora_file import LoraFile, Module


@dataclass(frozen=True)
class Update:
    """The update of one module, fp32."""

    A: torch.Tensor
    B: torch.Tensor
    magnitude: torch.Tensor | None
    scale: float


class Initial:
    """The updates that a file has for the modules of the run's adapter."""

    def __init__(self, file: LoraFile, model: Model, settings: LoraConfig) -> None:
        """Reads and checks the file; no adapter is attached yet.

        Raises:
            ModelError: its modules are not the adapter's, or differ in size, or have values that are not finite.
        """
        self.path = file.path
        self._expected = lora.expected_shapes(model, settings)
        self._updates = self._fit(file, _names(file, self._expected, model))

    @classmethod
    def of(cls, run: RunDir, settings: LoraConfig, model: Model) -> Initial | None:
        """The file of `lora.init_from`; None: the setting is empty.

        Raises:
            ConfigError: the file is missing, or has changed since the run was created.
            ModelError: it does not fit.
        """
        if not settings.init_from:
            return None
        file, record = lora_file.read(Path(settings.init_from)), run.read_record().init_from
        if record is None or record.sha256 != file.digest:
            raise ConfigError(
                f"lora.init_from {file.path} has changed since this run was created",
                f"restore {file.path}, or start another run with --new",
            )
        return cls(file, model, settings)

    def _fit(self, file: LoraFile, names: dict[str, str]) -> dict[str, Update]:
        tensors = _tensors(file)
        updates: dict[str, Update] = {}
        unused: list[str] = []
        for name, module in file.modules.items():
            update = _update(name, module, tensors, file.settings)
            if name in names:
                updates[names[name]] = self._shaped(name, names[name], update)
            elif update.B.any():  # kohya's files have SDXL's last layer of the first text encoder, whose B stays zero
                unused.append(name)
        if unused:
            raise ModelError(
                f"lora.init_from {self.path} adapts {len(unused)} modules that this run does not, such as {unused[0]}",
                "set lora.target_modules and lora.text_encoder as for that LoRA, or give a LoRA for this base model",
            )
        return updates

    def _shaped(self, name: str, module: str, update: Update) -> Update:
        """The file's A and B. A 1 × 1 convolution may be stored as a linear layer, and vice versa."""
        expected_A, expected_B = (self._expected[f"{module}.lora_{half}.weight"] for half in "AB")
        rank = len(update.A)
        shapes = ((rank, *expected_A[1:]), (expected_B[0], rank, *expected_B[2:]))
        try:
            down, up = (value.reshape(shape) for value, shape in zip((update.A, update.B), shapes, strict=True))
        except RuntimeError:
            raise ModelError(
                f"lora.init_from {self.path} is for another base model: {name} has the shapes "
                f"{tuple(update.A.shape)} and {tuple(update.B.shape)}, must have {shapes[0]} and {shapes[1]}",
                "give a LoRA that was trained on this base model",
            ) from None
        return Update(down, up, update.magnitude, update.scale)

    def apply(self, parts: dict[str, nn.Module]) -> str:
        """Write the updates into the adapter attached to these parts; returns a notice for the user, or nothing."""
        weights, metadata = lora.state(parts), lora.metadata(parts)
        for module, update in self._updates.items():
            rank, factor = len(update.A), update.scale / lora.scale(module, metadata)
            weights[f"{module}.lora_A.weight"][:rank] = update.A
            weights[f"{module}.lora_B.weight"][:, :rank] = update.B * factor
            magnitude = next((key for key in weights if key.startswith(f"{module}.{lora.MAGNITUDE}")), None)
            if magnitude and update.magnitude is not None:
                weights[magnitude] = update.magnitude.reshape(weights[magnitude].shape)
        lora.restore(parts, weights)
        fresh = [module for module in lora.modules(weights) if module not in self._updates]
        if not fresh:
            return ""
        return f"{self.path.name} has nothing for {len(fresh)} modules, such as {fresh[0]}: these start from zero"


def _names(file: LoraFile, expected: dict[str, torch.Size], model: Model) -> dict[str, str]:
    """The file's name of a module → ours. In kohya's format a module can have several names."""
    modules = lora.modules(expected)
    if file.form != "kohya":
        return {module: module for module in modules}
    return {name: module for module in modules for name in model.family.lora_names(module)}


def _tensors(file: LoraFile) -> dict[str, dict[str, torch.Tensor]]:
    try:
        return {part: safetensors.torch.load(place.read_bytes()) for part, place in file.places.items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"lora.init_from {file.path} cannot be read: {error}", "download or copy it again") from None


def _update(name: str, module: Module, tensors: dict[str, dict[str, torch.Tensor]], settings: dict[str, Any]) -> Update:
    values = {what: tensors[part][key].float() for what, (part, key) in module.keys.items()}
    if not lora.is_finite(values):
        raise ModelError(f"lora.init_from has values that are not finite, in {name}", "give another file")
    return Update(values["A"], values["B"], values.get("magnitude"), _scale(name, module, values, settings))


def _scale(name: str, module: Module, values: dict[str, torch.Tensor], settings: dict[str, Any]) -> float:
    """kohya's alpha / rank, else the value in PEFT's configuration; 1 for a file without either."""
    if "alpha" in values:
        return float(values["alpha"]) / module.rank
    if f"{module.part}.r" not in settings:
        return 1.0
    try:
        return lora.scale(name, settings)
    except (KeyError, ValueError, TypeError):
        raise ModelError(f"lora.init_from does not state the alpha of {name}", "give another file") from None
