"""`init` says in how many pictures the garment blends into its background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocket.lessons.garments import concept, render
from tasks.text_to_image import backdrops


@pytest.fixture
def seen(tmp_path: Path) -> list[Path]:
    """Three kimonos before a wall."""
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, (path, garment) in enumerate(zip(paths, concept(3), strict=True)):
        render(garment, number, 64)[0].save(path)
    return paths


def blending(path: Path) -> Path:
    """Noise: nothing is before anything."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    return path


def test_garments_before_a_wall_are_no_news(seen: list[Path], tmp_path: Path) -> None:
    assert backdrops.sentence(seen) == ""
    (tmp_path / "torn.png").write_bytes(b"torn")
    assert backdrops.sentence([*seen, tmp_path / "torn.png"]) == "", "told elsewhere"
    assert backdrops.sentence([]) == ""


def test_those_that_cannot_be_told_from_their_background_are_counted_with_the_cure(
    seen: list[Path], tmp_path: Path
) -> None:
    blends = blending(tmp_path / "blends.png")
    said = backdrops.sentence([*seen, blends])
    assert said.startswith(
        "in 1 of 4 pictures looked at, the garment cannot be told from its background: colours are not"
    )
    assert "set evaluation.segmenter" in said
    assert "colours will not count" in backdrops.sentence([*seen, *[blends] * 4])
    assert "of 20 pictures looked at" in backdrops.sentence([blends] * 40)
