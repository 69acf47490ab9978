"""Will this run fit? The estimated peak of trainer and evaluator against what is free, before the first step.

It warns where both together would not fit, with the settings that help most, and refuses only what cannot be helped:
a trainer that does not fit with one picture at a time and checkpointing. A model that is not on this machine yet is
not estimated, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psutil

from shared.config.schema import Config
from shared.errors import DeviceError
from shared.machine import hardware
from shared.machine.hardware import Gpu
from tasks.text_to_image.families.known import EMBEDDED
from tasks.text_to_image.models import base_model, memory, trained_whole
from tasks.text_to_image.models.memory import GIB, Footprint, ModelShapes, Precision
from tasks.text_to_image.weights import denoiser_blocks

MIXED: dict[str, Precision] = {"no": "fp32", "fp16": "fp16", "bf16": "bf16"}
SMALLER_RESOLUTION = {1024: 768, 768: 512}
NAMED_PARTS = 3
NUM_ADVICE = 2
ON_CPU: dict[str, dict[str, Any]] = {"evaluation": {"device": "cpu"}}
ERROR = 0.1
"""By how much real steps exceeded the estimate: benchmarks/reports/step_memory_2-core-cpu_202611.md."""


@dataclass(frozen=True)
class Place:
    """Memory that programs share."""

    name: str
    free: float
    """Bytes."""
    gpu: Gpu | None = None


@dataclass(frozen=True)
class Share:
    """What one place is asked to hold."""

    place: Place
    footprints: tuple[Footprint, ...]
    advice: tuple[str, ...]
    """The settings that would save most there, with how much; empty where everything fits."""
    in_turns: bool = False
    """Whether one program at a time is there: `evaluation.turns`."""

    @property
    def needed(self) -> float:
        """Bytes at the worst moment."""
        sizes = [footprint.bytes for footprint in self.footprints]
        return max(sizes) if self.in_turns else sum(sizes)

    @property
    def excess(self) -> float:
        """Bytes more than are free; negative: bytes to spare."""
        return self.needed - self.place.free

    def sentence(self) -> str:
        """For the terminal."""
        needs = "; ".join(map(_describe, self.footprints))
        turns = ", in turns" if self.in_turns and len(self.footprints) > 1 else ""
        text = f"memory on {self.place.name}, estimated: {needs}{turns}; {_gib(self.place.free)} free"
        if self.excess <= -ERROR * self.place.free:
            return text
        if self.excess <= 0:
            return f"{text}, which is close: the estimate errs by about a tenth"
        cure = f"; what would save most: {', '.join(self.advice)}" if self.advice else ""
        return f"{text}, {_gib(self.excess)} too few{cure}"


def examine(config: Config, *, with_evaluator: bool = True) -> list[Share] | None:
    """The estimate for every place that is used; None: the model is a hub id not downloaded yet.

    Raises:
        ModelError: `model.path` is no model.
        ConfigError: more blocks are swapped than there are.
        DeviceError: the trainer cannot fit even with one picture at a time and checkpointing.
    """
    settings = config.model
    model = memory.read_shapes(
        settings.path, revision=settings.revision, variant=settings.variant, described=settings.single_file_config
    )
    if model is None:
        return None
    model = replace(model, num_sources=memory.most_sources(config))
    if config.train.what == "scratch":
        model = memory.with_fresh_denoiser(model, settings)
    if blocks := memory.blocks(model):
        denoiser_blocks.require(settings.blocks_to_swap, len(blocks), "model")
        denoiser_blocks.require(config.evaluation.blocks_to_swap, len(blocks), "evaluation")
    places = places_here()
    refuse_impossible(model, config, places)
    return shares(model, config, places, with_evaluator=with_evaluator)


def sentences(shares: list[Share] | None, path: str) -> list[str]:
    """What to tell a person."""
    if shares is None:
        return [f"memory is not estimated: {path} is not on this machine yet"]
    return [share.sentence() for share in shares]


def resolution_notice(config: Config) -> str | None:
    """A sentence where pictures are half as large as the model's own, or smaller; None: they are large enough, or the
    denoiser is trained from scratch.

    Raises:
        ModelError: `model.path` is no model.
    """
    path, resolution = config.model.path, config.data.resolution
    if config.train.what == "scratch":
        return None
    own = own_resolution(path)
    if 2 * resolution > own:
        return None
    return (
        f"data.resolution is {resolution}, but {path} was trained on pictures of {own} × {own}: "
        f"it learns and draws badly at half that size; set data.resolution={own}"
    )


def record(shares: list[Share] | None) -> dict[str, Any] | None:
    """For `run.json`: MiB by place, program and component."""
    if shares is None:
        return None
    return {
        share.place.name: {
            "free_mib": round(share.place.free / hardware.MIB),
            **{
                footprint.program: {name: round(size / hardware.MIB) for name, size in footprint.parts.items()}
                for footprint in share.footprints
            },
        }
        for share in shares
    }


def places_here() -> list[Place]:
    """Every GPU torch would use, in its order, then the machine's memory."""
    gpus = [Place(f"GPU {gpu.index}", gpu.free_mib * hardware.MIB, gpu) for gpu in hardware.usable_gpus()]
    return [*gpus, Place("this machine", float(psutil.virtual_memory().available))]


def shares(model: ModelShapes, config: Config, places: Sequence[Place], *, with_evaluator: bool = True) -> list[Share]:
    """What each place in use is asked to hold, with advice where it is too much. `places` end with the memory."""
    placed = _placed(model, config, places, with_evaluator=with_evaluator)
    result: list[Share] = []
    for place, footprints in placed:
        share = Share(place, tuple(footprints), (), config.evaluation.turns)
        if share.excess > 0:
            share = replace(share, advice=_advice(model, config, places, share, with_evaluator=with_evaluator))
        result.append(share)
    return result


def refuse_impossible(model: ModelShapes, config: Config, places: Sequence[Place]) -> None:
    """Raises DeviceError if the trainer's smallest form is larger than what is free where it would run."""
    smallest = _changed(config, {"train": {"train_batch_size": 1, "gradient_checkpointing": True}})
    place = places[0]
    needed = _trainer(model, smallest, place)
    if needed.bytes > place.free:
        share = Share(place, (needed,), ())
        advice = _advice(model, smallest, places, share, with_evaluator=False)
        raise DeviceError(
            f"training needs about {_gib(needed.bytes)} on {place.name} even with one picture at a time and "
            f"checkpointing ({_describe(needed)}); {_gib(place.free)} are free",
            "free memory there" + (f", or: {', '.join(advice)}" if advice else ", or take a smaller model"),
        )


def own_resolution(path: str) -> int:
    """The side of the pictures a model was trained on, in pixels: from its configuration, else its family's."""
    if name := base_model.embedded(path):
        return EMBEDDED[name].resolution
    model = memory.read_shapes(path)
    return model.family.native_resolution(model) if model else base_model.guess_family(path).resolution


def _placed(
    model: ModelShapes, config: Config, places: Sequence[Place], *, with_evaluator: bool
) -> list[tuple[Place, list[Footprint]]]:
    trainer_place, evaluator_place = places[0], _evaluator_place(config, places)
    trainer = _trainer(model, config, trainer_place)
    if not with_evaluator:
        return [(trainer_place, [trainer])]
    evaluator = _evaluator(model, config, evaluator_place)
    if evaluator_place == trainer_place:
        return [(trainer_place, [trainer, evaluator])]
    return [(trainer_place, [trainer]), (evaluator_place, [evaluator])]


def _trainer(model: ModelShapes, config: Config, place: Place) -> Footprint:
    precision = MIXED.get(config.model.mixed_precision) or _natural(place)
    return memory.trainer_footprint(model, config, precision, on_gpu=place.gpu is not None)


def _evaluator(model: ModelShapes, config: Config, place: Place) -> Footprint:
    dtype = config.evaluation.dtype
    precision: Precision = ("fp16" if place.gpu else "fp32") if dtype == "auto" else dtype
    return memory.evaluator_footprint(model, config, precision, on_gpu=place.gpu is not None)


def _natural(place: Place) -> Precision:
    """What `auto` means for the trainer."""
    if place.gpu is None or place.gpu.kind == "mps":
        return "fp32"
    return "bf16" if place.gpu.compute_capability >= (8, 0) else "fp16"


def _evaluator_place(config: Config, places: Sequence[Place]) -> Place:
    name, _, number = config.evaluation.device.partition(":")
    if name in ("cpu", "mps"):
        return places[-1]
    num_gpus = len(places) - 1
    if name == "auto":
        return places[hardware.evaluator_gpu(num_gpus, config.train.num_processes)]
    return places[min(int(number or 0), max(num_gpus - 1, 0))]


def _advice(
    model: ModelShapes, config: Config, places: Sequence[Place], share: Share, *, with_evaluator: bool
) -> tuple[str, ...]:
    """The changes that save most on a place, the best first, one of each kind: the mildest that is enough.

    A denoiser that is a chain of blocks is large, and a CPU takes far too long to draw with it: this comes last.
    """
    saved: dict[str, float] = {}
    kinds: dict[str, list[str]] = {}
    for changes in _candidates(model, config, on_gpu=share.place.gpu is not None):
        changed = _changed(config, changes)
        placed = _placed(model, changed, places, with_evaluator=with_evaluator)
        there = tuple(footprint for place, parts in placed if place == share.place for footprint in parts)
        saved[_settings(changes)] = share.needed - Share(share.place, there, (), changed.evaluation.turns).needed
        kinds.setdefault(_settings(changes).partition("=")[0], []).append(_settings(changes))
    last = {_settings(ON_CPU)} if model.family.swaps_blocks else set[str]()
    of_kinds = [
        next((settings for settings in kind if saved[settings] >= share.excess), max(kind, key=saved.__getitem__))
        for kind in kinds.values()
    ]
    best = sorted(of_kinds, key=lambda settings: (settings in last, -saved[settings]))
    return tuple(f"{settings} ({_gib(saved[settings])})" for settings in best[:NUM_ADVICE] if saved[settings] > 0)


def _candidates(model: ModelShapes, config: Config, *, on_gpu: bool) -> list[dict[str, dict[str, Any]]]:
    """Changes that cost memory less and the result little."""
    train, evaluation = config.train, config.evaluation
    pictures = train.train_batch_size * train.gradient_accumulation_steps
    checkpointing = train.gradient_checkpointing or True
    candidates: list[dict[str, dict[str, Any]]] = [
        {"train": {"gradient_checkpointing": checkpointing}},
        {"train": {"train_batch_size": 1, "gradient_accumulation_steps": pictures}},
        {"evaluation": {"batch_size": 1}},
    ]
    if smaller := SMALLER_RESOLUTION.get(config.data.resolution):
        candidates.append({"data": {"resolution": smaller}})
    if on_gpu:
        if model.family.swaps_blocks:
            candidates.append({"train": {"gradient_checkpointing": "offload"}})
        candidates.append({"train": {"optimizer": "adamw8bit"}})
        if config.model.mixed_precision == "no":
            candidates.append({"model": {"mixed_precision": "fp16"}})
        if config.model.quantization == "none" and not trained_whole.is_whole(config):
            candidates += [*_swaps(model, config)]
            candidates.append({"model": {"quantization": "fp8"}, "train": {"gradient_checkpointing": checkpointing}})
            if not config.model.blocks_to_swap:
                candidates += [{"model": {"quantization": "8bit"}}, {"model": {"quantization": "4bit"}}]
        if evaluation.device != "cpu" and train.num_processes == 1 and config.model.quantization in ("none", "fp8"):
            candidates.append({"evaluation": {"turns": True}})
        if evaluation.device != "cpu":
            candidates.append(ON_CPU)
    return candidates


def _swaps(model: ModelShapes, config: Config) -> Iterator[dict[str, dict[str, Any]]]:
    """Half of the blocks, then three quarters."""
    total = len(memory.blocks(model)) if model.family.swaps_blocks else 0
    for count in (total // 2, total * 3 // 4):
        if count > config.model.blocks_to_swap:
            checkpointing = config.train.gradient_checkpointing or True
            yield {"model": {"blocks_to_swap": count}, "train": {"gradient_checkpointing": checkpointing}}
        if count > config.evaluation.blocks_to_swap and not config.lora.use_dora:
            yield {"evaluation": {"blocks_to_swap": count}}


def _changed(config: Config, changes: dict[str, dict[str, Any]]) -> Config:
    sections = {name: getattr(config, name).model_copy(update=values) for name, values in changes.items()}
    return config.model_copy(update=sections)


def _settings(changes: dict[str, dict[str, Any]]) -> str:
    """As the command line takes them."""
    return " ".join(
        f"{section}.{key}={str(value).lower()}" for section, values in changes.items() for key, value in values.items()
    )


def _describe(footprint: Footprint) -> str:
    largest = sorted(footprint.parts, key=lambda name: footprint.parts[name], reverse=True)[:NAMED_PARTS]
    named = ", ".join(f"{name} {_gib(footprint.parts[name])}" for name in largest)
    return f"{footprint.program} {_gib(footprint.bytes)} while {footprint.moment} ({named} …)"


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / hardware.MIB:.0f} MiB"
