"""`python benchmarks/flow_activations.py`: what a training step and a picture of Z-Image hold besides weights.

The true blocks on fake tensors, as `activations.py` counts the UNets: shapes and lifetimes are real, memory is not
used. Few blocks are enough, because every further one holds the same. Weights are bf16; the adapter is fp32, of rank 16
on attention; captions have 512 tokens.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import ZImageTransformer2DModel
from diffusers.training_utils import cast_training_params
from peft import LoraConfig
from torch._subclasses.fake_tensor import FakeTensorMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.activations import materialise, peak_of

DTYPE, CAPTION, WIDTH = torch.bfloat16, 512, 3840
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]


def build(num_blocks: int, rank: int | None) -> ZImageTransformer2DModel:
    """On torch's meta device; with a rank, an fp32 adapter on its attention."""
    with torch.device("meta"):
        transformer = ZImageTransformer2DModel(n_layers=num_blocks).to(DTYPE)
        transformer.requires_grad_(False)
        if rank:
            transformer.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS))
            cast_training_params(transformer, dtype=torch.float32)
    return transformer


def inputs(batch: int, pixels: int) -> tuple[Any, ...]:
    """Noisy latents, times and captions, of the right shapes."""
    latents = [torch.empty(16, 1, pixels // 8, pixels // 8, dtype=DTYPE) for _ in range(batch)]
    captions = [torch.empty(CAPTION, 2560, dtype=DTYPE) for _ in range(batch)]
    return latents, torch.empty(batch), captions


def training_bytes(num_blocks: int, batch: int, pixels: int, *, checkpointing: bool) -> int:
    """Forward and backward; the adapter's gradients are not counted."""
    transformer = build(num_blocks, 16)
    with FakeTensorMode():
        materialise(transformer)
        transformer.train()
        if checkpointing:
            transformer.enable_gradient_checkpointing()
        given = inputs(batch, pixels)
        for parameter in transformer.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)

        def step() -> None:
            with torch.autocast("cpu", DTYPE):
                predicted = transformer(*given, return_dict=False)[0]
            torch.stack([*predicted]).float().square().mean().backward()

        return peak_of(transformer, step, half=False)


def drawing_bytes(num_blocks: int, batch: int, pixels: int) -> int:
    """One forward pass without gradients; `batch` counts the negative prompts too."""
    transformer = build(num_blocks, None)
    with FakeTensorMode(), torch.no_grad():
        materialise(transformer)
        given = inputs(batch, pixels)
        return peak_of(transformer, lambda: transformer(*given, return_dict=False), half=False)


def report(title: str, measure: Callable[[int, int, int], int], cases: list[tuple[int, int, int]]) -> None:
    """Bytes per token and channel by blocks, batch and pixels."""
    print(f"\n### {title}\n\n| blocks | batch | pixels | bytes per token and channel |\n| --- | --- | --- | --- |")
    for case in cases:
        _, batch, pixels = case
        tokens = batch * ((pixels / 16) ** 2 + CAPTION)
        print(f"| {' | '.join(map(str, case))} | {measure(*case) / tokens / WIDTH:.1f} |")


def main() -> None:
    """Measure and print."""
    report("A forward pass without gradients", drawing_bytes, [(1, 1, 512), (1, 1, 1024), (3, 1, 1024)])
    for checkpointing, words in ((True, "with"), (False, "without")):

        def measure(num_blocks: int, batch: int, pixels: int, *, checkpointing: bool = checkpointing) -> int:
            return training_bytes(num_blocks, batch, pixels, checkpointing=checkpointing)

        cases = [(1, 1, 1024), (3, 1, 1024), (3, 1, 512), (2, 2, 512)]
        report(f"A training step {words} checkpointing", measure, cases if checkpointing else cases[:2])


if __name__ == "__main__":
    main()
