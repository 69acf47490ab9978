"""How the network computes, without changing what: activation checkpointing and compilation."""

from __future__ import annotations

from typing import Any

from torch import nn

from shared.config.schema import TrainConfig
from tasks.text_to_image.lora.lora import is_text_encoder


def configure(parts: dict[str, nn.Module], settings: TrainConfig) -> None:
    """Set up the parts that carry an adapter. Parameters, their names and, up to rounding, results stay as they are.

    Checkpointing is the non-reentrant kind, which lets gradients through though no input of a part requires any.
    It does nothing in evaluation mode. Compilation happens at the first forward pass, in place; a second bucket shape
    makes height and width symbolic, so that further ones compile nothing.
    """
    if settings.gradient_checkpointing:
        for part in parts.values():
            _checkpoint(part)
    if settings.torch_compile:
        next(part for name, part in parts.items() if not is_text_encoder(name)).compile()


def _checkpoint(part: Any) -> None:
    """diffusers' and transformers' models name it differently."""
    if hasattr(part, "enable_gradient_checkpointing"):
        part.enable_gradient_checkpointing()
    else:
        part.activation_checkpointing_enable({"use_reentrant": False})
