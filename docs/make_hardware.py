"""Writes the tables of docs/hardware.md from what families say: `python docs/make_hardware.py`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from shared.config.loading import parse_config  # noqa: E402
from shared.config.schema import Config  # noqa: E402
from shared.machine.hardware import Gpu  # noqa: E402
from tasks.text_to_image.families.family import Family  # noqa: E402
from tasks.text_to_image.families.known import FAMILIES  # noqa: E402
from tasks.text_to_image.models import memory, presets, step_time  # noqa: E402
from tasks.text_to_image.models.memory import ModelShapes  # noqa: E402
from tests.true_shapes import true_shapes  # noqa: E402

TARGET = ROOT / "docs" / "hardware.md"
BEGIN, END = "<!-- presets: begin -->", "<!-- presets: end -->"
HEADS = (
    "resolution",
    "batch",
    "checkpointing",
    "weights",
    "rank",
    "drawn at once",
    "trainer, GiB",
    "evaluator, GiB",
    "a step takes",
    "why",
)
MEASURES = {
    ("train", "gradient_checkpointing"): ("checkpointing", False),
    ("model", "quantization"): ("fewer bits", "none"),
    ("model", "blocks_to_swap"): ("swapping", 0),
    ("evaluation", "blocks_to_swap"): ("swapping in the evaluator", 0),
}
"""What saves memory: its name, and the value without it."""


def render() -> str:
    """The page, its tables made anew."""
    page = TARGET.read_text(encoding="utf-8")
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    tables = "\n\n".join(_table(family) for family in FAMILIES.values())
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def _table(family: Family) -> str:
    model = true_shapes(family.name)
    too_small = [gigabytes for gigabytes in step_time.CARDS if gigabytes < min(family.sizes)]
    rows = [_row(model, None), *(_row_of_none(model, gigabytes) for gigabytes in too_small)]
    rows += [_row(model, gigabytes) for gigabytes in family.sizes]
    title = family.title.replace("SD ", "Stable Diffusion ")
    head = f"| {title} | {' | '.join(HEADS)} |\n|{' --- |' * (len(HEADS) + 1)}"
    return "\n".join([head, *rows])


def _row(model: ModelShapes, gigabytes: int | None) -> str:
    gpu = Gpu(0, "", 0.0, gigabytes * 1024.0, (8, 0)) if gigabytes else None
    config = _config(presets.recommend(model.family, gpu))
    train, evaluation = config.train, config.evaluation
    draws_here = evaluation.device == "auto"
    weights = {"none": "full"}.get(config.model.quantization, config.model.quantization)
    cells = [
        f"{gigabytes} GB" if gigabytes else "CPU",
        str(config.data.resolution),
        f"{train.train_batch_size} × {train.gradient_accumulation_steps}",
        "yes" if train.gradient_checkpointing else "no",
        f"{weights}, {config.model.blocks_to_swap} swapped" if config.model.blocks_to_swap else weights,
        str(config.lora.rank),
        (f"{evaluation.batch_size}" if draws_here else "on the CPU")
        + (f", {evaluation.blocks_to_swap} swapped" if evaluation.blocks_to_swap else ""),
        _gib(_trainer(model, config, on_gpu=bool(gpu))),
        _gib(_evaluator(model, config, on_gpu=bool(gpu) and draws_here)),
        f"× {step_time.relative(model, config, step_time.CARDS[gigabytes]):.1f}" if gigabytes else "",
        _why(model, config) if gigabytes else "",
    ]
    return f"| {' | '.join(cells)} |"


def _row_of_none(model: ModelShapes, gigabytes: int) -> str:
    """Of a card that is too small: what the least would be."""
    smallest = _config(presets.recommend(model.family, Gpu(0, "", 0.0, min(model.family.sizes) * 1024.0, (8, 0))))
    count = len(memory.blocks(model))
    config = smallest.model_copy(update={"model": smallest.model.model_copy(update={"blocks_to_swap": count})})
    needed = _trainer(model, config, on_gpu=True)
    away = sum(memory.swapped_bytes(model, "bf16", config.model.quantization, count))
    reason = f"does not fit: with all blocks swapped the trainer needs {_gib(needed)} GiB"
    if needed <= presets.USABLE * gigabytes * memory.GIB:
        reason = f"left out: all blocks would be swapped, into {_gib(away)} GiB of the machine's memory"
    return f"| {gigabytes} GB |{' |' * (len(HEADS) - 1)} {reason} |"


def _why(model: ModelShapes, config: Config) -> str:
    """What each measure saves, with the others in place."""
    found: list[str] = []
    for (section, key), (name, without) in MEASURES.items():
        table = getattr(config, section)
        if getattr(table, key) == without:
            continue
        other = config.model_copy(update={section: table.model_copy(update={key: without})})
        saved = _peak(model, other) - _peak(model, config)
        found.append(f"{name} saves {_gib(saved)} GiB")
    return ", ".join(found) or "everything fits"


def _peak(model: ModelShapes, config: Config) -> float:
    return _trainer(model, config, on_gpu=True) + _evaluator(model, config, on_gpu=True)


def _trainer(model: ModelShapes, config: Config, *, on_gpu: bool) -> float:
    return memory.trainer_footprint(model, config, "bf16" if on_gpu else "fp32", on_gpu=on_gpu).bytes


def _evaluator(model: ModelShapes, config: Config, *, on_gpu: bool) -> float:
    return memory.evaluator_footprint(model, config, "fp16" if on_gpu else "fp32", on_gpu=on_gpu).bytes


def _gib(size: float) -> str:
    return f"{size / memory.GIB:.1f}"


def _config(preset: presets.Preset) -> Config:
    tree: dict[str, dict[str, object]] = {"data": {"path": "pictures"}}
    for key, choice in preset.choices.items():
        section, _, name = key.partition(".")
        tree.setdefault(section, {})[name] = choice.value
    return parse_config(tree)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
