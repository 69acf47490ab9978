"""A picture and its caption, by an id that does not depend on the location of the data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """A picture and its caption."""

    id: str
    image: Path
    caption: str
    repeats: int = 1
    """Number of repeats in each pass over the training set."""
    is_regularization: bool = False
    """A picture of the class, not of the subject; see `shared.data.split.regularization`."""
    mask: Path | None = None
    """The mask beside it, used or not; see `shared.data.masks`."""
    sources: tuple[Path, ...] = ()
    """What it is made from by its caption, which is then an instruction; see `shared.data.edits`."""


def id_of(image: Path, folder: Path) -> str:
    """Its path below the data set's folder without the ending; of a picture outside, its whole path."""
    below = image.relative_to(folder) if image.is_relative_to(folder) else image.relative_to(image.anchor)
    return below.with_suffix("").as_posix()
