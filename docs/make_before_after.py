"""`python docs/make_before_after.py RUN [NAME]`: write images/NAME.png, base model, best snapshot and real picture."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.run_dir import RunDir, open_run

IMAGES = Path(__file__).parent / "images"
NUM_COLUMNS = 8
EDGE, GAP, LABEL_WIDTH, CAPTION_HEIGHT = 128, 6, 96, 56


def draw(run: RunDir) -> Image.Image:
    """Three rows of the run's first prompts, first seed each; captions below."""
    best = run.read_best()
    assert best, f"{run.path} has no best.json"
    before, after = (_first_seeds(run, step) for step in (0, best.step))
    columns = list(before)[:NUM_COLUMNS]
    size = (LABEL_WIDTH + len(columns) * (EDGE + GAP), 3 * (EDGE + GAP) + CAPTION_HEIGHT)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for row, label in enumerate(("base model", f"step {best.step}", "real picture")):
        pen.text((6, row * (EDGE + GAP) + EDGE // 2 - 8), label, "black", font)
    for column, prompt_id in enumerate(columns):
        left = LABEL_WIDTH + column * (EDGE + GAP)
        paths = [
            run.evaluation(0) / "images" / before[prompt_id].image,
            run.evaluation(best.step) / "images" / after[prompt_id].image,
            run.references / f"{prompt_id}.png",
        ]
        for row, path in enumerate(paths):
            with Image.open(path, formats=["PNG"]) as picture:
                sheet.paste(picture.convert("RGB"), (left, row * (EDGE + GAP)))
        pen.multiline_text((left, 3 * (EDGE + GAP)), _wrapped(before[prompt_id].prompt, 20), "black", font)
    return sheet


def _first_seeds(run: RunDir, step: int) -> dict[str, Sample]:
    result = run.read_result(step)
    assert result, f"step {step} has no result"
    samples: dict[str, Sample] = {}
    for sample in result.samples:
        samples.setdefault(sample.prompt_id, sample)
    return samples


def _wrapped(text: str, width: int) -> str:
    lines = [""]
    for word in text.split():
        if len(f"{lines[-1]} {word}") > width and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    name = sys.argv[2] if len(sys.argv) > 2 else "before-after"
    draw(open_run(Path(sys.argv[1]))).save(IMAGES / f"{name}.png", optimize=True)
