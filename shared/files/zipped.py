"""A folder as one zip that appears whole."""

from __future__ import annotations

import uuid
import zipfile
from collections.abc import Collection
from pathlib import Path

from shared.files.publication import fsync
from shared.files.replacing import move_over


def zip_folder(folder: Path, target: Path, without: Collection[str] = ()) -> None:
    """Everything in a folder, without compression, because neither weights nor pictures compress. A target that exists
    is replaced. without: names of files that are left out.

    Raises:
        OSError: it cannot be written; nothing is left beside the target.
    """
    staging = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        with zipfile.ZipFile(staging, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(folder.rglob("*")):
                if path.name not in without:
                    archive.write(path, path.relative_to(folder))
        fsync(staging)
        move_over(staging, target)
    finally:
        staging.unlink(missing_ok=True)
    fsync(target.parent)
