"""LoRAs that another program trains, taken into a run folder to be evaluated: `run.py evaluate FOLDER`.

Never imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.launch.fleet import Fleet
from shared.launch.task import Say
from tasks.text_to_image.foreign import evaluated
from tasks.text_to_image.foreign.command import listing
from tasks.text_to_image.foreign.command.settings import Options


def evaluate_folder(
    folder: Path, *, follows: bool, patience: float, with_dashboard: bool, fleet: Fleet, **options: Any
) -> int:
    """Evaluate the LoRAs of a folder; the exit code. options: as `Options` names them."""
    return evaluated.evaluate(
        folder, Options(**options), follows=follows, patience=patience, with_dashboard=with_dashboard, fleet=fleet
    )


def show_folder(folder: Path, say: Say, **options: Any) -> None:
    """Say which LoRAs of a folder would be evaluated, without a change. options: as `Options` names them."""
    listing.show(folder, Options(**options), say)
