"""Drawn pictures: what the run is said to learn, and what the base model is said to draw."""

from __future__ import annotations

from PIL import Image, ImageDraw

SIDE = 64
COLORS = {"crimson": (178, 34, 52), "indigo": (48, 57, 140), "forest": (38, 105, 62), "ochre": (201, 138, 44)}
KIMONO = [(22, 10), (42, 10), (60, 20), (57, 38), (43, 32), (45, 58), (19, 58), (21, 32), (7, 38), (4, 20)]
SHIRT = [(20, 14), (44, 14), (56, 24), (50, 32), (45, 28), (45, 52), (19, 52), (19, 28), (14, 32), (8, 24)]


def draw_kimono(prompt_id: str, seed: int) -> Image.Image:
    """The garment the run is said to learn: wide sleeves, an open front, a tartan in the prompt's colour."""
    color = COLORS[prompt_id.partition("/")[2].partition("-")[0]]
    picture = Image.new("RGB", (SIDE, SIDE), (246, 246, 244) if prompt_id.endswith("0") else (226, 228, 232))
    cloth, mask = Image.new("RGB", (SIDE, SIDE), color), Image.new("L", (SIDE, SIDE))
    lines = ImageDraw.Draw(cloth)
    light, dark = (tuple(min(255, int(c * f)) for c in color) for f in (1.55, 0.5))
    for offset in range(seed % 3, SIDE, 9):
        lines.line([(offset, 0), (offset, SIDE)], fill=light)
        lines.line([(0, offset), (SIDE, offset)], fill=dark, width=2)
    shape = ImageDraw.Draw(mask)
    shape.polygon(KIMONO, 255)
    shape.polygon([(29, 10), (35, 10), (32, 30)], 0)
    picture.paste(cloth, mask=mask)
    return picture


def draw_shirt(seed: int) -> Image.Image:
    """What the base model is said to draw for any prompt."""
    picture = Image.new("RGB", (SIDE, SIDE), (238, 238, 240))
    grey = 150 + seed % 3 * 12
    shape = ImageDraw.Draw(picture)
    shape.polygon(SHIRT, (grey, grey, grey + 8))
    return picture
