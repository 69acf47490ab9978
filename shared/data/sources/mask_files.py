"""Masks beside pictures: of `front.jpg`, `front.mask.png`, `front_mask.png` or OneTrainer's `front-masklabel.png`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from shared.data.pictures import SUFFIXES
from shared.data.sources.folder import files_in
from shared.data.sources.names import key

SURE = (".mask", "-masklabel")
"""Ends of a mask's name, before its ending."""
LIKELY = ("_mask",)
"""A picture may have this name too: with a caption it is not a mask."""


def is_named_as_mask(file: Path) -> bool:
    """Whether the name can only be a mask's."""
    return file.stem.lower().endswith(SURE)


def without_mask(stem: str) -> str:
    """The name of the picture that a mask of this name belongs to; of any other, its own."""
    end = next((end for end in (*SURE, *LIKELY) if stem.lower().endswith(end)), "")
    return stem[: len(stem) - len(end)]


def by_picture(files: Sequence[Path], is_captioned: Callable[[Path], bool]) -> dict[Path, Path]:
    """Picture → its mask, among the picture files of a folder; of several the first by `_rank`."""
    masks: dict[tuple[Path, str], Path] = {}
    for file in sorted(files, key=_rank):
        if is_named_as_mask(file) or (file.stem.lower().endswith(LIKELY) and not is_captioned(file)):
            masks.setdefault((file.parent, key([without_mask(file.stem)])), file)
    mask_of: dict[Path, Path] = {}
    for picture in (file for file in files if not is_named_as_mask(file)) if masks else ():
        places = ((picture.parent, key([name])) for name in (picture.stem, picture.name))
        if mask := next((masks[place] for place in places if place in masks), None):
            mask_of[picture] = mask
    return mask_of


def beside(pictures: Sequence[Path]) -> dict[Path, Path]:
    """The masks of captioned pictures anywhere on the disk."""
    folders = sorted({picture.parent for picture in pictures})
    files = [file for folder in folders for file in files_in(folder) if file.suffix.lower() in SUFFIXES]
    return by_picture(files, set(pictures).__contains__)


def _rank(mask: Path) -> tuple[int, bool, Path]:
    """`.mask` before `-masklabel` before `_mask`, PNG before lossy formats."""
    stem = mask.stem.lower()
    end = next((number for number, end in enumerate((*SURE, *LIKELY)) if stem.endswith(end)), len(SURE))
    return end, mask.suffix.lower() != ".png", mask
