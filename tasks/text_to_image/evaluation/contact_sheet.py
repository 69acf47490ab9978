"""The contact sheet of a result: a row for each prompt, its reference first, then its pictures by seed."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence

from PIL import Image, ImageOps

from tasks.text_to_image.evaluation.image_generator import Job
from tasks.text_to_image.evaluation.references import References

MAX_BYTES = 300_000
MAX_PIXELS, MAX_TILE, MIN_TILE = 1_200_000, 192, 24
MAX_SIDE = 16383
"""The limit of WebP."""
QUALITIES = (85, 70, 50, 30, 10)
GAP = 2
PAPER = (255, 255, 255)


def draw(references: References, drawn: Sequence[tuple[Job, Image.Image]]) -> bytes:
    """The sheet as WebP; many prompts make small tiles."""
    rows: defaultdict[str, list[Image.Image]] = defaultdict(list)
    for job, picture in sorted(drawn, key=lambda pair: pair[0].seed):
        rows[job.prompt_id].append(picture)
    for prompt_id, pictures in rows.items():
        if prompt_id in references.pictures:
            pictures.insert(0, references.pictures[prompt_id])
    columns = max(map(len, rows.values()))
    side = _tile(len(rows), columns)
    canvas = Image.new("RGB", (columns * (side + GAP) - GAP, len(rows) * (side + GAP) - GAP), PAPER)
    for row, pictures in enumerate(rows.values()):
        for column, picture in enumerate(pictures):
            tile = ImageOps.pad(picture, (side, side), Image.Resampling.LANCZOS, color=PAPER)
            canvas.paste(tile, (column * (side + GAP), row * (side + GAP)))
    return _encode(canvas)


def _encode(picture: Image.Image) -> bytes:
    """WebP in the best of a few qualities that fits `MAX_BYTES`; the lowest quality if none does."""
    data = b""
    for quality in QUALITIES:
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=quality)
        if len(data := file.getvalue()) <= MAX_BYTES:
            break
    return data


def _tile(num_rows: int, num_columns: int) -> int:
    """Side of a tile, pixels."""
    side = int((MAX_PIXELS / (num_rows * num_columns)) ** 0.5)
    return max(MIN_TILE, min(side, MAX_TILE, MAX_SIDE // max(num_rows, num_columns) - GAP))
