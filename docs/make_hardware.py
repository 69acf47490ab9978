"""Writes the tables of docs/hardware.md from what families say: `python docs/make_hardware.py`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from shared.machine.hardware import Gpu  # noqa: E402
from tasks.text_to_image.families.family import Family  # noqa: E402
from tasks.text_to_image.families.known import FAMILIES  # noqa: E402
from tasks.text_to_image.models import presets  # noqa: E402

TARGET = ROOT / "docs" / "hardware.md"
BEGIN, END = "<!-- presets: begin -->", "<!-- presets: end -->"
COLUMNS = {
    "data.resolution": "resolution",
    "train.train_batch_size": "batch",
    "train.gradient_accumulation_steps": "accumulation",
    "train.gradient_checkpointing": "checkpointing",
    "model.quantization": "quantization",
    "model.blocks_to_swap": "blocks to swap",
    "lora.rank": "rank",
    "evaluation.batch_size": "drawn at once",
    "evaluation.blocks_to_swap": "swapped while drawing",
    "evaluation.device": "drawn on",
}


def render() -> str:
    """The page, its tables made anew."""
    page = TARGET.read_text(encoding="utf-8")
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    tables = "\n\n".join(_table(family) for family in FAMILIES.values())
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def _table(family: Family) -> str:
    rows = [_row("CPU", presets.recommend(family, None))]
    for gigabytes in family.sizes:
        gpu = Gpu(0, "", 0.0, gigabytes * 1024.0, (8, 0))
        rows.append(_row(f"{gigabytes} GB", presets.recommend(family, gpu)))
    title = family.title.replace("SD ", "Stable Diffusion ")
    head = f"| {title} | {' | '.join(COLUMNS.values())} |\n|{' --- |' * (len(COLUMNS) + 1)}"
    return "\n".join([head, *rows])


def _row(card: str, preset: presets.Preset) -> str:
    values = [_word(key, preset.choices[key].value if key in preset.choices else 0) for key in COLUMNS]
    return f"| {card} | {' | '.join(values)} |"


def _word(key: str, value: object) -> str:
    if key == "evaluation.device":
        return "the CPU" if value == "cpu" else "the same device"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
