"""Settings for a class of hardware, and the reason for each.

Each family has a table by memory of the card. Every row trains on four pictures an update, so that the same steps and
learning rate mean the same on every card; what differs is how many of them are held at once. Sizes follow the estimate
in `memory` of trainer and evaluator on one card, checked by a test against nine tenths of the memory, and published
practice, named below. None of these rows has been measured on such a card by this project.

Sources: OneTrainer's LoRA presets for SD 1.5 and SDXL (rank 16, batch 4, 512 and 1024 pixels); diffusers'
`training/lora.md` (SD 1.5 LoRA on an 11 GB 2080 Ti) and `examples/dreambooth/README_sdxl.md` (SDXL LoRA below 16 GB
with checkpointing); kohya_ss' LoRA guide (SDXL LoRA: at least 12 GB); SimpleTuner's tutorial (SDXL LoRA: 12 or 16 GB).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from shared.config.schema import EvaluationConfig
from shared.machine.hardware import Gpu

if TYPE_CHECKING:
    from tasks.text_to_image.families.family import Family

PICTURES_PER_UPDATE = 4
USABLE = 0.9
"""Share of the nominal memory to plan with: a card of "16 GB" shows 14.7 to 16.0 GiB, and its screen takes some."""
BF16_SINCE = (8, 0)

Quantization = Literal["none", "fp8", "8bit", "4bit"]


@dataclass(frozen=True)
class Size:
    """What a class of cards can hold of a family."""

    batch: int
    checkpointing: bool
    rank: int
    evaluation_batch: int
    """0: the evaluator draws on the CPU."""
    quantization: Quantization = "none"
    resolution: int | None = None
    """None: the family's own."""
    blocks_to_swap: int = 0
    """Needs checkpointing, and weights that are not in bitsandbytes' 8 or 4 bits."""
    evaluation_blocks_to_swap: int = 0


@dataclass(frozen=True)
class Choice:
    """One setting and why it has this value."""

    value: Any
    reason: str


@dataclass(frozen=True)
class Preset:
    """Settings for a model on a machine, by key path."""

    name: str
    reason: str
    choices: dict[str, Choice]
    what: Literal["lora", "full", "scratch"] = "lora"


def recommend(family: Family, gpu: Gpu | None, model: str = "", resolution: int | None = None) -> Preset:
    """The preset for a family on a card; None: there is no card.

    model: the path or hub id, whose name can matter. resolution: side of the pictures that this model was trained on,
    in pixels; None: the family's.
    """
    own = resolution or family.resolution
    if not family.sizes:
        return Preset(
            f"{family.name} on any device",
            "the miniature model fits anywhere",
            _choices(family, model, own, family.on_cpu, None),
        )
    if gpu is None:
        reason = "no usable GPU: small pictures, and patience"
        return Preset(f"{family.name} on CPU", reason, _choices(family, model, own, family.on_cpu, None))
    gibibytes = gpu.total_mib / 1024
    gigabytes = card_class(gibibytes, family.sizes)
    reason = f"{gpu.name} has {gibibytes:.1f} GiB: the class of {gigabytes} GB"
    if gibibytes < gigabytes * USABLE:
        needs = f"{family.title} needs a card of {gigabytes} GB"
        reason = f"{gpu.name} has {gibibytes:.1f} GiB, and {needs}: it may not fit"
    choices = _choices(family, model, own, family.sizes[gigabytes], gigabytes, gpu.compute_capability)
    return Preset(f"{family.name} on {gigabytes} GB", reason, choices)


def describe(preset: Preset) -> str:
    """The settings that differ by card, in one line."""
    value = {key: choice.value for key, choice in preset.choices.items()}
    words = [
        f"{value['data.resolution']} px",
        f"batch {value['train.train_batch_size']} × {value['train.gradient_accumulation_steps']}",
        f"rank {value['lora.rank']}",
        str(value["model.mixed_precision"]),
        *(["checkpointing"] if value["train.gradient_checkpointing"] else []),
        *([value["model.quantization"]] if value["model.quantization"] != "none" else []),
        *([f"{value['model.blocks_to_swap']} blocks swapped"] if "model.blocks_to_swap" in value else []),
        f"draws {value['evaluation.batch_size']} at once" + (" on the CPU" * (value["evaluation.device"] == "cpu")),
    ]
    return ", ".join(words)


def card_class(vram_gib: float, classes: Collection[int]) -> int:
    """The largest of these classes, in nominal GB, of which a card has nine tenths; the smallest for anything less."""
    return max((size for size in classes if vram_gib >= size * USABLE), default=min(classes))


def _choices(
    family: Family,
    model: str,
    resolution: int,
    size: Size,
    gigabytes: int | None,
    compute_capability: tuple[int, int] = (0, 0),
) -> dict[str, Choice]:
    card = f"{gigabytes} GB" if gigabytes else "a CPU"
    accumulation = PICTURES_PER_UPDATE // size.batch
    return {
        "model.mixed_precision": _precision(family, gigabytes is not None, compute_capability),
        "model.quantization": Choice(size.quantization, _quantization_reason(size, card)),
        **_swapping(size, card),
        "data.resolution": _resolution(resolution, size, card),
        "lora.rank": Choice(size.rank, _rank_reason(size.rank)),
        "lora.lora_alpha": Choice(size.rank, "equal to the rank: the update is applied at scale 1"),
        "train.train_batch_size": Choice(size.batch, f"pictures held at once on {card}"),
        "train.gradient_accumulation_steps": Choice(
            accumulation, f"{size.batch} × {accumulation} = {PICTURES_PER_UPDATE} pictures an update, as on every card"
        ),
        "train.gradient_checkpointing": Choice(
            size.checkpointing,
            f"activations do not fit on {card} beside the rest; steps take up to 1.5 × as long"
            if size.checkpointing
            else f"activations fit on {card}; recomputed, steps would take up to 1.5 × as long",
        ),
        **scheduler(family),
        **{key: Choice(*choice) for key, choice in family.drawing_settings(model).items()},
        **_evaluation(size, card, on_gpu=gigabytes is not None),
    }


def precision(family: Family, gpu: Gpu | None) -> Choice:
    """Of the passes; the trained weights are fp32."""
    return _precision(family, gpu is not None, gpu.compute_capability if gpu else (0, 0))


def _precision(family: Family, on_gpu: bool, compute_capability: tuple[int, int]) -> Choice:
    if not on_gpu:
        return Choice("auto", "fp32 on a CPU")
    if family.overflows_in_fp16:
        return Choice("bf16", f"{family.title} overflows in fp16; a card before Ampere computes it slowly")
    if compute_capability == (0, 0):
        return Choice("auto", "bf16 where the card computes in it, else fp16; fp32 on Apple's")
    if compute_capability >= BF16_SINCE:
        return Choice("bf16", "Ampere or later: fp32's range, no loss scaling")
    return Choice("fp16", "before Ampere (T4, V100, RTX 20) there is no bf16; losses are scaled")


def _quantization_reason(size: Size, card: str) -> str:
    if size.quantization == "none" and size.blocks_to_swap:
        return "swapped blocks leave room enough, and change no number"
    if size.quantization == "none":
        return "the frozen denoiser fits in its own precision"
    if size.quantization == "fp8":
        return f"the frozen denoiser in 8-bit floats leaves room on {card}; gradients stay close to those of bf16"
    return f"the frozen denoiser in {size.quantization} leaves room on {card}; needs bitsandbytes"


def _swapping(size: Size, card: str) -> dict[str, Choice]:
    """Only where the trainer swaps blocks."""
    if not size.blocks_to_swap:
        return {}
    reason = f"the denoiser does not fit on {card} beside the rest; one block computes while the next one comes"
    return {"model.blocks_to_swap": Choice(size.blocks_to_swap, reason)}


def _resolution(own: int, size: Size, card: str) -> Choice:
    """own: what the base model was trained on."""
    if size.resolution is None or size.resolution >= own:
        return Choice(own, "what the base model was trained on")
    return Choice(size.resolution, f"on {card}, less than the {own} the base model was trained on")


def _rank_reason(rank: int) -> str:
    if rank < 16:
        return "small: quick to compute, quick to save"
    return "enough for a subject or a style" if rank == 16 else "room for a whole collection; the card has it"


def scheduler(family: Family) -> dict[str, Choice]:
    """Only where the default cannot draw with this family."""
    if family.samplers is None or EvaluationConfig.model_fields["scheduler"].default in family.samplers:
        return {}
    return {"evaluation.scheduler": Choice(next(iter(family.samplers)), f"draws what {family.title} has learnt")}


def _evaluation(size: Size, card: str, *, on_gpu: bool) -> dict[str, Choice]:
    if not on_gpu:
        return {
            "evaluation.batch_size": Choice(size.evaluation_batch, "pictures drawn at once"),
            "evaluation.device": Choice("auto", "beside the trainer, on the other half of the cores"),
        }
    if size.evaluation_batch:
        return {
            "evaluation.batch_size": Choice(size.evaluation_batch, f"drawn at once beside the trainer on {card}"),
            "evaluation.device": Choice("auto", "trainer and evaluator share the card"),
            **(
                {
                    "evaluation.blocks_to_swap": Choice(
                        size.evaluation_blocks_to_swap,
                        f"the evaluator's model does not fit on {card} beside the trainer; the pictures stay the same",
                    )
                }
                if size.evaluation_blocks_to_swap
                else {}
            ),
        }
    return {
        "evaluation.batch_size": Choice(1, "on the CPU more at once is no faster"),
        "evaluation.device": Choice(
            "cpu", f"a second pipeline does not fit on {card}; minutes a picture, training does not wait"
        ),
    }
