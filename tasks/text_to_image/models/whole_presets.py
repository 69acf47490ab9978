"""Settings for training every weight of a denoiser on a card, and the reason for each: `train.what` full or scratch.

No table by family: the estimate in `memory` is asked, for the model as it is, which settings fit on the card, from the
ones that cost nothing to those that cost most. Micro-batches are those of guides to training on Colab: 4 pictures on a
T4, 8 on a V100 or P100. None of this has been measured on such a card by this project.

Sources: diffusers' `examples/text_to_image` (full: four pictures an update, learning rate 1e-5, bf16 or fp16,
checkpointing, 8-bit Adam, EMA); 32 pictures an update from scratch are those of the guides named above.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from shared.config.loading import parse_config
from shared.machine.hardware import Gpu
from tasks.text_to_image.models import memory, presets
from tasks.text_to_image.models.memory import GIB, ModelShapes, Precision
from tasks.text_to_image.models.presets import Choice, Preset

if TYPE_CHECKING:
    from tasks.text_to_image.families.family import Family

What = Literal["full", "scratch"]
UPDATE = {"full": 4, "scratch": 32}
"""Pictures of an update."""
SMALL_CARD_GIB = 15.5
"""A T4 shows 14.7 GiB, a V100 or P100 15.9."""
AT_ONCE, AT_ONCE_ON_SMALL = 8, 4
FEW_AT_ONCE = 4
"""From so many on, larger micro-batches are hardly faster; below, checkpointing is the better choice."""
EMA_DECAY = 0.999
OPTIMIZERS = ("adamw", "adamw8bit", "adafactor")
OPTIMIZER_REASONS = {
    "adamw": "fits; its two moments take 8 bytes for each weight",
    "adamw8bit": "AdamW's moments in 8 bits, 2 bytes for each weight in place of 8; needs bitsandbytes",
    "adafactor": "keeps rows and columns of its moments only: even in 8 bits AdamW's do not fit",
}


@dataclass(frozen=True)
class _Form:
    """One way to train; the fields that a card decides."""

    optimizer: str
    turns: bool
    checkpointing: bool
    batch: int
    evaluation_batch: int = 1
    ema: bool = False


def recommend(
    what: What, family: Family, gpu: Gpu | None, model: str, resolution: int, shapes: ModelShapes | None
) -> Preset:
    """The preset for training whole.

    resolution: side of the pictures that are proposed, in pixels. shapes: the model; None: it is not on this machine.
    """
    precision = presets.precision(family, gpu if family.sizes else None)
    if gpu is None or not family.sizes:
        size = family.on_cpu
        form = _Form("adamw", False, size.checkpointing, min(size.batch, UPDATE[what]), size.evaluation_batch, True)
        name, reason = f"{family.name}, {what}, on CPU", "no usable GPU: small pictures, and patience"
        if not family.sizes:
            name, reason = f"{family.name}, {what}, on any device", "the miniature model fits anywhere"
        return Preset(name, reason, _choices(what, family, form, precision, model, resolution, "a CPU"), what)
    gibibytes = gpu.total_mib / 1024
    name, card = f"{family.name}, {what}, on {gibibytes:.0f} GB", f"{gpu.name} ({gibibytes:.1f} GiB)"
    cap = min(UPDATE[what], AT_ONCE if gibibytes >= SMALL_CARD_GIB else AT_ONCE_ON_SMALL)
    if shapes is None:
        form = _Form("adamw8bit", True, True, 1)
        reason = f"{model} is not on this machine, so its memory is unknown: the settings that take least"
        return Preset(name, reason, _choices(what, family, form, precision, model, resolution, card), what)
    room = presets.USABLE * gibibytes * GIB
    form = _fitting(shapes, what, cap, room, resolution, precision)
    reason = f"{card}: the largest that fits, by estimate"
    if _bytes(shapes, what, form, resolution, precision) > room:
        needs = f"by estimate {what} training needs more: it may not fit"
        reason = f"{card}, and {needs}; train a LoRA, or take a smaller model"
    return Preset(name, reason, _choices(what, family, form, precision, model, resolution, card), what)


def _fitting(shapes: ModelShapes, what: What, cap: int, room: float, resolution: int, precision: Choice) -> _Form:
    """The form that costs least of those that fit; the smallest if none does."""

    def first(forms: Iterable[_Form]) -> _Form | None:
        return next((one for one in forms if _bytes(shapes, what, one, resolution, precision) <= room), None)

    few = min(cap, FEW_AT_ONCE)
    ways = [*product(OPTIMIZERS, (False, True))]
    smallest = first(_Form(*way, True, batch) for batch in (few, 1) for way in ways)
    if smallest is None:
        return _Form(OPTIMIZERS[-1], True, True, 1)
    own = (smallest.optimizer, smallest.turns)
    plain = first(_Form(*own, False, batch) for batch in _halved(cap) if batch >= few)
    form = plain or first(_Form(*own, True, batch) for batch in _halved(cap)) or smallest
    averaged = _Form(*own, form.checkpointing, form.batch, 1, True)
    form = first([averaged]) or form
    drawn = (_Form(*own, form.checkpointing, form.batch, count, form.ema) for count in _halved(AT_ONCE))
    return first(drawn) or form


def _halved(count: int) -> Iterator[int]:
    while count:
        yield count
        count //= 2


def _bytes(shapes: ModelShapes, what: What, form: _Form, resolution: int, precision: Choice) -> float:
    """The peak on the card: of trainer and evaluator, or of the larger one if they take turns."""
    config = parse_config(
        {
            "data": {"path": "-", "resolution": resolution},
            "train": {
                "what": what,
                "optimizer": form.optimizer,
                "train_batch_size": form.batch,
                "gradient_checkpointing": form.checkpointing,
                "ema_decay": EMA_DECAY if form.ema else False,
            },
            "evaluation": {"batch_size": form.evaluation_batch},
        }
    )
    half: Precision = "fp16" if precision.value == "fp16" else "bf16"
    trainer = memory.trainer_footprint(shapes, config, half, on_gpu=True).bytes
    evaluator = memory.evaluator_footprint(shapes, config, half, on_gpu=True).bytes
    return max(trainer, evaluator) if form.turns else trainer + evaluator


def _choices(
    what: What, family: Family, form: _Form, precision: Choice, model: str, resolution: int, card: str
) -> dict[str, Choice]:
    update = UPDATE[what]
    accumulation = update // form.batch
    wide = "bf16" if family.overflows_in_fp16 else "fp16"
    choices: dict[str, Any] = {
        "model.mixed_precision": precision,
        "data.resolution": Choice(resolution, "what the base model was trained on, or less where there is no card"),
        "train.what": Choice(what, WHAT_REASONS[what]),
        "train.train_batch_size": Choice(form.batch, f"pictures held at once on {card}"),
        "train.gradient_accumulation_steps": Choice(
            accumulation, f"{form.batch} × {accumulation} = {update} pictures an update, as on every card"
        ),
        "train.optimizer": Choice(form.optimizer, OPTIMIZER_REASONS[form.optimizer]),
        "train.gradient_checkpointing": Choice(
            form.checkpointing,
            "activations do not fit beside weights, gradients and moments; steps take up to 1.5 × as long"
            if form.checkpointing
            else "activations fit; recomputed, steps would take up to 1.5 × as long",
        ),
        "train.snapshot_dtype": Choice(wide, "2 bytes a weight: half of the disk space; checkpoints stay in fp32"),
        **presets.scheduler(family),
        **{key: Choice(*choice) for key, choice in family.drawing_settings(model).items()},
        "evaluation.batch_size": Choice(form.evaluation_batch, "pictures drawn at once"),
        "evaluation.device": Choice("auto", "on the trainer's device"),
    }
    if form.ema:
        choices["train.ema_decay"] = Choice(EMA_DECAY, "snapshots hold a moving average: 4 bytes more for each weight")
    if form.turns:
        choices["evaluation.turns"] = Choice(True, "trainer and evaluator do not fit side by side: they alternate")
    if what == "scratch":
        choices["data.caption_dropout"] = Choice(0.1, "a tenth learns without a caption: guidance needs it")
    return choices


WHAT_REASONS = {
    "full": "every weight of the base model's denoiser learns",
    "scratch": "a denoiser with fresh weights learns; the base model gives VAE and text encoders",
}
