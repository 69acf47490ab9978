"""What snapshots hold, in the model that draws: a LoRA, or every weight of the denoiser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol


class Learnt(Protocol):
    """Brings what snapshots hold into the model, and takes it out again."""

    has_strength: ClassVar[bool]
    """Whether it can be applied at another strength than 1."""

    def swap(self, snapshot: Path | None, strength: float) -> str:
        """Load a published snapshot; None: the state before training. Returns the snapshot's digest.

        Raises:
            ModelError, RunFolderError: the file is damaged, or does not fit the model.
        """
        ...

    def average(self, steps: Sequence[int], folder: Path) -> dict[str, Any]:
        """Fill a folder with the average of these snapshots. Returns facts for its manifest.

        Raises:
            ModelError, RunFolderError: they are damaged, or have no average.
        """
        ...
