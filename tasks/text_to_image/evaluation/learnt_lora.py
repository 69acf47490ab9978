"""The LoRA of a snapshot, in the pipeline that draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from shared.config.schema import Config
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.evaluation import averaged_file, snapshot_file
from tasks.text_to_image.evaluation.image_generator import ImageGenerator


@dataclass(frozen=True)
class LearntLora:
    """Swaps the LoRAs of a run's snapshots."""

    run: RunDir
    config: Config
    image_generator: ImageGenerator
    has_strength: ClassVar[bool] = True

    def swap(self, snapshot: Path | None, strength: float) -> str:
        """Load this snapshot's LoRA into the pipeline; None: the base model without a LoRA."""
        if snapshot is None:
            self.image_generator.swap(None)
            return ""
        file = snapshot_file.read(snapshot, self.image_generator.expected, self.config.lora)
        self.image_generator.swap(file, strength)
        return file.digest

    def average(self, steps: Sequence[int], folder: Path) -> dict[str, Any]:
        """Write the LoRA that is the average of these snapshots."""
        return averaged_file.write(self.run, steps, self.image_generator.expected, self.config.lora, folder)
