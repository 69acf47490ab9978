"""A first look at a folder of pictures: how many, how large, of which shape, and whether captions are there."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from shared.errors import DataError
from shared.pictures import SUFFIXES, undecodable, upright_size
from shared.sources import read


@dataclass(frozen=True)
class Survey:
    """What was seen."""

    num_images: int
    """That have a caption, or may have."""
    sizes: tuple[tuple[int, int], ...]
    """(width, height) of every picture that could be opened."""
    captions: tuple[str, ...]
    problems: tuple[str, ...] = ()
    """What has to be mended before training."""

    @property
    def median_short_side(self) -> int:
        """Pixels; 0 if no picture could be opened."""
        return int(statistics.median(min(size) for size in self.sizes)) if self.sizes else 0

    @property
    def mixed_shapes(self) -> bool:
        """Whether aspect ratios differ by more than a tenth."""
        ratios = [width / height for width, height in self.sizes]
        return bool(ratios) and max(ratios) / min(ratios) > 1.1

    def sentences(self) -> list[str]:
        """For the terminal."""
        lines = [f"{self.num_images} pictures, {len(self.captions)} captions"]
        if self.sizes:
            widths, heights = zip(*self.sizes, strict=True)
            ratios = sorted(width / height for width, height in self.sizes)
            lines.append(
                f"{min(widths)} to {max(widths)} wide, {min(heights)} to {max(heights)} high; median short side "
                f"{self.median_short_side}; aspect ratios {ratios[0]:.2f} to {ratios[-1]:.2f}"
            )
        if self.captions:
            words = statistics.median(len(caption.split()) for caption in self.captions)
            lines.append(f"captions: {words:g} words in the median, {len(set(self.captions))} different")
        return lines


def survey(path: Path) -> Survey:
    """Look at a data set in any of its forms.

    Raises:
        DataError: no such data set, or no picture in it.
    """
    problems: list[str] = []
    pairs = read(path, problems)
    if not pairs and not problems:
        raise DataError(f"{path} holds no pictures", f"looked for {', '.join(sorted(SUFFIXES))} at any depth")
    problems.extend(undecodable(sorted({pair.image for pair in pairs if pair.image.is_file()})))
    sizes = tuple(size for size in (_size(pair.image) for pair in pairs) if size)
    captions = tuple(pair.caption for pair in pairs if pair.caption)
    return Survey(len(pairs), sizes, captions, tuple(dict.fromkeys(problems)))


def _size(path: Path) -> tuple[int, int] | None:
    try:
        return upright_size(path)
    except DataError:
        return None
