"""One picture of what training has changed: reference · base model · best · newest, a row for each prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from shared.run_folder.averages import label
from shared.run_folder.run_dir import RunDir

MAX_PROMPTS = 6
TILE, GAP, HEAD = 256, 4, 26
PAPER, INK = (255, 255, 255), (40, 40, 40)
MAX_TITLE = 34
"""Letters that fit over a tile."""


def draw(run: RunDir, best: int, newest: int) -> Image.Image | None:
    """None where there is no prompt of which all have a picture.

    Columns without a picture of their own are left out: the reference of a prompt that has none, and the newest where
    it is the best.
    """
    steps = {"base model": 0, f"best: {_named(run, best)}": best, f"newest: {_named(run, newest)}": newest}
    if best == newest:
        del steps[f"newest: {_named(run, newest)}"]
    drawn = {title: _pictures(run, step) for title, step in steps.items()}
    prompts = [prompt for prompt in next(iter(drawn.values())) if all(prompt in found for found in drawn.values())]
    if not prompts:
        return None
    chosen = prompts[:: -(-len(prompts) // MAX_PROMPTS)]
    references = {prompt: run.references / f"{prompt}.png" for prompt in chosen}
    real = {prompt: path for prompt, path in references.items() if path.is_file()}
    return _grid(({"reference": real} if real else {}) | drawn, chosen)


def _named(run: RunDir, step: int) -> str:
    return f"{run.read_record().unit} {label(step)}"


def _pictures(run: RunDir, step: int) -> dict[str, Path]:
    """Prompt → the picture of its first seed."""
    result = run.read_result(step)
    found: dict[str, Path] = {}
    for sample in sorted(result.samples, key=lambda sample: sample.seed) if result else ():
        path = run.evaluation(step) / "images" / sample.image
        if sample.image and path.is_file():
            found.setdefault(sample.prompt_id, path)
    return found


def _grid(columns: Mapping[str, Mapping[str, Path]], prompts: list[str]) -> Image.Image:
    canvas = Image.new("RGB", (len(columns) * (TILE + GAP) - GAP, HEAD + len(prompts) * (TILE + GAP) - GAP), PAPER)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    for column, (title, pictures) in enumerate(columns.items()):
        left = column * (TILE + GAP)
        pen.text((left + 2, 4), title[:MAX_TITLE], fill=INK, font=font)
        for row, prompt in enumerate(prompts):
            if prompt in pictures:
                with Image.open(pictures[prompt], formats=["PNG", "WEBP"]) as opened:
                    tile = ImageOps.pad(opened.convert("RGB"), (TILE, TILE), Image.Resampling.LANCZOS, color=PAPER)
                canvas.paste(tile, (left, HEAD + row * (TILE + GAP)))
    return canvas
