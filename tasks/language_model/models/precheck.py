"""Will this run fit? What training and evaluation take against what is free, before anything is loaded.

It refuses what no splitting of batches can help: one example at a time that does not fit. The error names the mildest
settings that would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import psutil

from shared.config.loading import own_settings
from shared.config.schema import Config
from shared.errors import DeviceError
from shared.machine import hardware
from tasks.language_model.models import files, memory, shapes
from tasks.language_model.models.memory import Bits, Load, Precision, gib
from tasks.language_model.models.shapes import Shapes
from tasks.language_model.settings import Settings

CONTEXTS = (512, 1024, 2048, 4096, 8192, 16384)
"""Columns of the table, as far as the model can tell positions apart."""
NUM_CONTEXTS = 4
LEAST_CONTEXT = 128
ROWS: tuple[tuple[str, Precision, Bits], ...] = (
    ("fp32", "fp32", "none"),
    ("fp16", "fp16", "none"),
    ("8-bit", "fp16", "8bit"),
    ("4-bit", "fp16", "4bit"),
)


@dataclass(frozen=True)
class Place:
    """Where a run computes."""

    name: str
    free: float
    """Bytes."""
    is_gpu: bool
    natural: Precision
    """What `model.mixed_precision = "auto"` means there."""


@dataclass(frozen=True)
class Estimate:
    """Of a run."""

    model: Shapes
    load: Load
    """Of the trainer, with the batch that is set."""
    place: Place
    trainer: dict[str, float]
    """Bytes by part."""
    evaluator: dict[str, float]
    """Likewise; empty: another place, or none."""

    def sentences(self) -> list[str]:
        """For a person: what it takes, and the table."""
        needed = sum(self.trainer.values()) + sum(self.evaluator.values())
        parts = ", ".join(f"{name} {gib(size)}" for name, size in self.trainer.items())
        text = f"memory on {self.place.name}, estimated: trainer {gib(sum(self.trainer.values()))} ({parts})"
        if self.evaluator:
            text += f"; evaluator {gib(sum(self.evaluator.values()))}"
        text += f"; {gib(self.place.free)} free"
        if needed > self.place.free:
            text += f", {gib(needed - self.place.free)} too few: batches are split, and evaluations wait for memory"
        return [text, *table(self.model, self.load)]

    def record(self) -> dict[str, Any]:
        """For `run.json`: MiB by place, program and part."""
        programs = {"trainer": self.trainer, **({"evaluator": self.evaluator} if self.evaluator else {})}
        mib = {
            name: {part: round(size / hardware.MIB) for part, size in parts.items()} for name, parts in programs.items()
        }
        return {self.place.name: {"free_mib": round(self.place.free / hardware.MIB), **mib}}


def examine(config: Config, *, with_evaluator: bool) -> Estimate:
    """The estimate for these settings on this machine.

    Raises:
        ModelError: there is no model.
        DeviceError: one example at a time does not fit.
    """
    model, place = shapes.read(files.find(config.model)), place_here()
    load = load_of(config, place)
    require(model, load, place)
    settings, evaluation = own_settings(config, Settings), config.evaluation
    precision: Precision = evaluation.dtype if evaluation.dtype != "auto" else ("fp16" if place.is_gpu else "fp32")
    beside = replace(load, batch=evaluation.batch_size, precision=precision)
    shared = with_evaluator and (not place.is_gpu or evaluation.device in ("auto", "cuda", "cuda:0"))
    held = memory.evaluator(model, beside, settings.max_new_tokens) if shared else {}
    return Estimate(model, load, place, memory.trainer(model, load), held)


def load_of(config: Config, place: Place) -> Load:
    """What is trained by these settings."""
    mixed: dict[str, Precision] = {"no": "fp32", "fp16": "fp16", "bf16": "bf16"}
    quantization = config.model.quantization
    return Load(
        precision=mixed.get(config.model.mixed_precision, place.natural),
        bits=quantization if quantization != "fp8" else "none",
        context=own_settings(config, Settings).context_length,
        batch=config.train.train_batch_size,
        checkpointing=bool(config.train.gradient_checkpointing),
        rank=config.lora.rank,
    )


def require(model: Shapes, load: Load, place: Place) -> None:
    """Raises DeviceError where one example at a time does not fit; the hint is what would."""
    single = replace(load, batch=1)
    parts = memory.trainer(model, single)
    needed = sum(parts.values())
    if needed <= place.free:
        return
    named = ", ".join(f"{name} {gib(size)}" for name, size in parts.items())
    lines = "".join(f"\n       {line}" for line in table(model, single))
    cure = next((told for changed, told in milder(single, place) if _bytes(model, changed) <= place.free), "")
    raise DeviceError(
        f"training needs about {gib(needed)} on {place.name} with one example at a time ({named}); "
        f"{gib(place.free)} are free{lines}",
        f"set {cure}" if cure else "take a smaller model, or free memory: no setting makes this one fit",
    )


def milder(load: Load, place: Place) -> Iterator[tuple[Load, str]]:
    """Settings that take less memory, what changes the result least first, and how a person writes them."""
    kinds: list[tuple[Precision, Bits, list[str]]] = [(load.precision, load.bits, [])]
    if place.is_gpu and load.bits == "none":
        half: Precision = "fp16" if load.precision == "fp32" else load.precision
        if half != load.precision:
            kinds.append((half, "none", [f'model.mixed_precision = "{half}"']))
        smaller: tuple[Bits, ...] = ("8bit", "4bit")
        before = kinds[-1][2]
        for bits in smaller:
            kinds.append((half, bits, [*before, f'model.quantization = "{bits}"']))
    elif place.is_gpu and load.bits == "8bit":
        kinds.append((load.precision, "4bit", ['model.quantization = "4bit"']))
    context = load.context
    while context >= min(LEAST_CONTEXT, load.context):
        shorter = [f"language_model.context_length = {context}"] if context < load.context else []
        for precision, bits, told in kinds:
            for checkpointing in dict.fromkeys((load.checkpointing, True)):
                recompute = [] if checkpointing == load.checkpointing else ["train.gradient_checkpointing = true"]
                if parts := [*recompute, *told, *shorter]:
                    changed = Load(precision, bits, context, 1, checkpointing, load.rank)
                    yield changed, ", ".join(parts)
        context //= 2


def table(model: Shapes, load: Load) -> list[str]:
    """What training takes by precision and context, as lines."""
    longest = model.max_positions or CONTEXTS[-1]
    longer = [context for context in CONTEXTS if load.context < context <= longest]
    contexts = [load.context, *longer][:NUM_CONTEXTS]
    head = " ".join(f"{context:>9}" for context in contexts)
    lines = [f"training by precision and context ({_examples(load)}):", f"{'':7}{head}"]
    for name, precision, bits in ROWS:
        sizes = (_bytes(model, replace(load, precision=precision, bits=bits, context=one)) for one in contexts)
        lines.append(f"{name:7}" + " ".join(f"{gib(size):>9}" for size in sizes))
    return lines


def place_here() -> Place:
    """The first GPU that torch would use, or this machine."""
    if gpus := hardware.usable_gpus():
        first = gpus[0]
        natural: Precision = "bf16" if first.compute_capability >= (8, 0) else "fp16"
        natural = "fp32" if first.kind == "mps" else natural
        return Place(f"GPU {first.index}", first.free_mib * hardware.MIB, is_gpu=True, natural=natural)
    return Place("this machine", float(psutil.virtual_memory().available), is_gpu=False, natural="fp32")


def _bytes(model: Shapes, load: Load) -> float:
    return sum(memory.trainer(model, load).values())


def _examples(load: Load) -> str:
    what = "1 example" if load.batch == 1 else f"{load.batch} examples"
    return f"{what} at once{', gradient checkpointing' if load.checkpointing else ''}"
