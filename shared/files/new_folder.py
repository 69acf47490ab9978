"""A folder that appears whole."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_folder(folder: Path) -> Generator[Path]:
    """A path beside `folder`, which does not exist yet: what is written there becomes `folder` at the end.

    After an error it stays aside, and the next call clears it.
    """
    staging = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    yield staging
    staging.rename(folder)
