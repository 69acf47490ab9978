"""The adapter of `lora.init_from`, converted to the names, ranks and scales of the run's adapter.

A file's update is its scale × B A; the run's scale may differ, so B is multiplied by their quotient. If the file's rank
is smaller, the additional rows of A keep their initial values and the additional columns of B are zero: the update is
the same, and all of it is trained.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from shared.config.schema import LoraConfig
from shared.errors import ConfigError, ModelError
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora, updates
from tasks.text_to_image.lora.updates import Update
from tasks.text_to_image.models import lora_file
from tasks.text_to_image.models.adaptable import own_names
from tasks.text_to_image.models.lora_file import LoraFile


class Initial:
    """The updates that a file has for the modules of the run's adapter."""

    def __init__(self, file: LoraFile, model: Model, settings: LoraConfig) -> None:
        """Reads and checks the file; no adapter is attached yet.

        Raises:
            ModelError: its modules are not the adapter's, or differ in size, or have values that are not finite.
        """
        self.path = file.path
        self._expected = lora.expected_shapes(model, settings)
        try:
            self._updates = self._fit(file, own_names(file, lora.modules(self._expected), model.family))
        except ModelError as error:
            raise ModelError(f"lora.init_from {error}", error.hint) from None

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
        fitted: dict[str, Update] = {}
        unused: list[str] = []
        for name, update in updates.read(file).items():
            if name in names:
                fitted[names[name]] = updates.shaped(file.path, name, update, self._weight(names[name]))
            elif update.B.any():  # kohya's files have SDXL's last layer of the first text encoder, whose B stays zero
                unused.append(name)
        if unused:
            raise ModelError(
                f"{self.path} adapts {len(unused)} modules that this run does not, such as {unused[0]}",
                "set lora.target_modules and lora.text_encoder as for that LoRA, or give a LoRA for this base model",
            )
        return fitted

    def _weight(self, module: str) -> tuple[int, ...]:
        """The shape of a module's weight, from those of the run's A and B."""
        expected_A, expected_B = (self._expected[f"{module}.lora_{half}.weight"] for half in "AB")
        return (expected_B[0], *expected_A[1:])

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
