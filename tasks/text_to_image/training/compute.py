"""Activation checkpointing and compilation: they change how the network computes, not the result."""

from __future__ import annotations

from typing import Any

from torch import nn

from shared.config.schema import TrainConfig
from tasks.text_to_image.lora.lora import is_text_encoder
from tasks.text_to_image.training.activation_offload import checkpoint_on_host


def configure(parts: dict[str, nn.Module], settings: TrainConfig) -> None:
    """Configure the parts that have an adapter. Parameters, their names and, up to rounding, results stay the same.

    Checkpointing is the non-reentrant kind, because no input of a part requires a gradient. It does nothing in
    evaluation mode. Compilation happens at the first forward pass, in place. A second bucket shape makes height and
    width symbolic, so that further shapes need no compilation.
    """
    if settings.gradient_checkpointing:
        for part in parts.values():
            _checkpoint(part, on_host=settings.gradient_checkpointing == "offload")
    if settings.torch_compile:
        next(part for name, part in parts.items() if not is_text_encoder(name)).compile()


def _checkpoint(part: Any, *, on_host: bool) -> None:
    """diffusers and transformers have different names for it."""
    if on_host:
        part.enable_gradient_checkpointing(checkpoint_on_host)
    elif hasattr(part, "enable_gradient_checkpointing"):
        part.enable_gradient_checkpointing()
    else:
        part.activation_checkpointing_enable({"use_reentrant": False})
