"""How long an update takes with these settings, relative to the same card with memory for everything: arithmetic.

It counts multiplications with frozen weights and bytes that travel. Nothing here was measured on a card: attention, the
adapter, the optimizer and the kernels' own overhead are left out, which they are on both sides of the ratio.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.config.schema import Config
from shared.machine.hardware import Gpu
from tasks.text_to_image.models import memory, presets
from tasks.text_to_image.models.memory import ModelShapes

COMPUTED, TRANSFERRED = 0.5, 0.75
"""Shares of a card's published speeds that training reaches: assumed."""
WIDENED_BYTES = {"fp8": 6.0, "8bit": 5.0, "4bit": 4.5}
"""Read and written in the card's memory for one weight in one pass, beyond what full weights need: it is made wide, and
fp8 is made narrow again."""


@dataclass(frozen=True)
class Card:
    """The published speeds of a card that many people have."""

    name: str
    teraflops: float
    """Dense matrices of 16 bits, summed in 32."""
    memory_gb: float
    """GB/s of its own memory."""
    host_gb: float
    """GB/s from the host's memory: PCIe in one direction."""


CARDS = {
    8: Card("RTX 4060", 30, 272, 16),
    10: Card("RTX 3080", 60, 760, 32),
    12: Card("RTX 4070", 58, 504, 32),
    16: Card("RTX 4080", 97, 717, 32),
    24: Card("RTX 4090", 165, 1008, 32),
    32: Card("RTX 5090", 210, 1792, 64),
    40: Card("A100 40 GB", 312, 1555, 32),
    48: Card("L40S", 362, 864, 32),
    80: Card("H100", 989, 3350, 64),
}
"""By nominal GB, from NVIDIA's data sheets."""


def relative(model: ModelShapes, config: Config, card: Card) -> float:
    """How many times as long an update takes as without checkpointing, quantisation and swapping; 1 is the fastest.

    Of a denoiser whose work is not told from its weights, a UNet's, only checkpointing counts.
    """
    # forward, perhaps again, and back: frozen weights have no gradient
    passes = 3 if config.train.gradient_checkpointing else 2
    tokens = model.family.tokens(memory.with_sources(model, config), config.data.resolution)
    if tokens is None:
        return passes / 2
    work = 2e-12 * model.weights(model.family.denoiser) * tokens * config.train.train_batch_size
    once = work / (COMPUTED * card.teraflops)
    small = memory.quantised_weights(model, config.model.quantization)
    widening = small * WIDENED_BYTES.get(config.model.quantization, 0.0) / (1e9 * TRANSFERRED * card.memory_gb)
    swapped = memory.swapped_bytes(model, "bf16", config.model.quantization, config.model.blocks_to_swap)
    transfer = 2 * sum(swapped) / (1e9 * TRANSFERRED * card.host_gb)
    return max(passes * (once + widening), transfer) / (2 * once)


def sentences(config: Config, gpu: Gpu | None) -> list[str]:
    """What to tell a person before training: nothing without a card, or of a model that is not on this machine."""
    settings = config.model
    model = memory.read_shapes(
        settings.path, revision=settings.revision, variant=settings.variant, described=settings.single_file_config
    )
    if gpu is None or model is None:
        return []
    card = CARDS[presets.card_class(gpu.total_mib / 1024, CARDS)]
    times = relative(model, config, card)
    return [
        f"speed: a step takes about {times:.1f} × as long as with memory for everything, computed for such a card "
        f"({card.name})"
    ]
