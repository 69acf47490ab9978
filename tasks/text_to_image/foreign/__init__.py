"""LoRAs that another program trains, taken into a run folder to be evaluated: `run.py evaluate FOLDER`.

Never imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.launch.task import Say
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.foreign import folder_run, listing
from tasks.text_to_image.foreign.settings import Options

IMPORTER = f"{__name__}.importer"
"""The program that takes what comes later."""


def open_folder(folder: Path, say: Say, *, follows: bool, **options: Any) -> tuple[RunDir, bool]:
    """The run folder of the LoRAs in a folder, and whether it has all of them. options: as `Options` names them."""
    return folder_run.open_folder(folder, Options(**options), say, follows=follows)


def show_folder(folder: Path, say: Say, **options: Any) -> None:
    """Say which LoRAs of a folder would be evaluated, without a change. options: as `Options` names them."""
    listing.show(folder, Options(**options), say)
