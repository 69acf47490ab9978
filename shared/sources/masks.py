"""Masks beside the pictures: `front.mask.png`, or OneTrainer's `front-masklabel.png`, of `front.jpg`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.sources.names import key

ENDINGS = (".mask.png", "-masklabel.png")


def is_named_as_mask(file: Path) -> bool:
    """Whether it is one, provided that there is a picture to it."""
    return file.name.lower().endswith(ENDINGS)


def by_picture(files: Sequence[Path]) -> dict[Path, Path]:
    """Picture → its mask, among the picture files of a folder."""
    named = {(file.parent, key([file.name])): file for file in files if is_named_as_mask(file)}
    found: dict[Path, Path] = {}
    for picture in (file for file in files if not is_named_as_mask(file)) if named else ():
        candidates = ((picture.parent, key([picture.stem + ending])) for ending in ENDINGS)
        if mask := next((named[place] for place in candidates if place in named), None):
            found[picture] = mask
    return found


def beside(picture: Path) -> Path | None:
    """The mask of a picture anywhere on the disk."""
    candidates = (picture.with_name(picture.stem + ending) for ending in ENDINGS)
    return next((path for path in candidates if path.is_file()), None)
