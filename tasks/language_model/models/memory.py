"""The memory that training and evaluation take, computed from a model's shapes before anything is loaded. Pure.

What a layer keeps for the backward pass was measured with saved-tensor hooks on Llama and GPT-2 with a LoRA of all
linear layers (tests/unit/tasks/language_model/test_memory.py does so again); attention is computed without its matrix
of probabilities, as `sdpa` does. Every example is taken to fill the context: it is the most that a step needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tasks.language_model.models.shapes import Shapes

Precision = Literal["fp32", "fp16", "bf16"]
Bits = Literal["none", "8bit", "4bit"]
GIB = float(1 << 30)
BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2}
QUANTIZED: dict[Bits, float] = {"8bit": 1.0, "4bit": 0.516}
"""Of a parameter of a linear layer: NF4 with double quantisation keeps 0.127 bits of scales beside 4 (QLoRA, §3)."""
KEPT_BY_LAYER: dict[Precision, tuple[float, float]] = {"fp32": (32.3, 20.0), "fp16": (29.0, 10.2), "bf16": (29.0, 10.2)}
"""Bytes for the backward pass by token and layer: times the hidden width, and times the feed-forward width."""
LEARNING = 16.0
"""Of a parameter that learns: itself, its gradient and Adam's two moments in fp32."""
SCORES = 12.0
"""Of a score of a token: in fp32, its logarithm of the probability, and the gradient."""


@dataclass(frozen=True)
class Load:
    """What is trained, as far as memory depends on it."""

    precision: Precision
    bits: Bits
    context: int
    batch: int
    """Examples at once."""
    checkpointing: bool
    rank: int


def weights(shapes: Shapes, precision: Precision, bits: Bits) -> float:
    """Bytes of the frozen model."""
    each = BYTES[precision] if bits == "none" else QUANTIZED[bits]
    return shapes.num_in_blocks * each + shapes.num_others * BYTES[precision]


def trainer(shapes: Shapes, load: Load) -> dict[str, float]:
    """Bytes by part, at the worst moment of a step."""
    tokens, of_number = load.batch * load.context, BYTES[load.precision]
    of_hidden, of_forward = KEPT_BY_LAYER[load.precision]
    layer = tokens * (of_hidden * shapes.hidden + of_forward * shapes.feed_forward)
    kept = shapes.num_layers * layer
    if load.checkpointing:
        kept = tokens * shapes.num_layers * of_number * shapes.hidden + layer
    return {
        "weights": weights(shapes, load.precision, load.bits),
        "LoRA and optimizer": shapes.num_learning(load.rank) * LEARNING,
        "activations": kept,
        "scores": tokens * shapes.vocabulary * (SCORES + of_number),
    }


def evaluator(shapes: Shapes, load: Load, new_tokens: int) -> dict[str, float]:
    """Bytes by part, while answers are generated or losses measured; whichever takes more."""
    tokens, of_number = load.batch * load.context, BYTES[load.precision]
    cache = load.batch * (load.context + new_tokens) * shapes.num_layers * 2 * shapes.kv_width * of_number
    scored = tokens * shapes.vocabulary * (4 + of_number)
    return {
        "weights": weights(shapes, load.precision, load.bits),
        "LoRA": shapes.num_learning(load.rank) * 4.0,
        "keys and values, or scores": max(cache, scored),
    }


def gib(size: float) -> str:
    """For people."""
    return f"{size / GIB:.1f} GiB" if size >= 0.1 * GIB else f"{size / (1 << 20):.0f} MiB"
