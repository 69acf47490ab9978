"""`python benchmarks/flow_activations.py FAMILY`: what a step and a picture of a flow model hold besides weights.

The true blocks on fake tensors, as `activations.py` counts the UNets: shapes and lifetimes are real, memory is not
used. Few blocks are enough, because every further one holds the same. Weights are bf16; the adapter is fp32, of rank 16
on the family's attention; captions have the family's most tokens.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import cast_training_params
from peft import LoraConfig
from torch._subclasses.fake_tensor import FakeTensorMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.activations import cuda_autocast, materialise, peak_of
from benchmarks.flow_blocks import BLOCKS, DTYPE, Blocks
from tasks.text_to_image.families.known import FAMILIES

Counts = tuple[int, ...]
"""Blocks of each kind."""


def build(family: str, counts: Counts, rank: int | None) -> Any:
    """On torch's meta device; with a rank, an fp32 adapter on its attention."""
    with torch.device("meta"):
        transformer: Any = BLOCKS[family].build(*counts).to(DTYPE)
        transformer.requires_grad_(False)
        if rank:
            targets = [*FAMILIES[family].presets["attention"]]
            transformer.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=targets))
            cast_training_params(transformer, dtype=torch.float32)
    return transformer


def training_bytes(family: str, counts: Counts, batch: int, pixels: int, *, checkpointing: bool) -> int:
    """Forward and backward; the adapter's gradients are not counted."""
    transformer = build(family, counts, 16)
    with FakeTensorMode():
        materialise(transformer)
        transformer.train()
        if checkpointing:
            transformer.enable_gradient_checkpointing()
        for parameter in transformer.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)

        def step() -> None:
            with cuda_autocast(DTYPE):
                predicted = BLOCKS[family].call(transformer, batch, pixels)
                torch.stack([*predicted]).float().square().mean().backward()

        return peak_of(transformer, step, half=False)


def drawing_bytes(family: str, counts: Counts, batch: int, pixels: int) -> int:
    """One forward pass without gradients; `batch` counts the negative prompts too."""
    transformer = build(family, counts, None)
    with FakeTensorMode(), torch.no_grad():
        materialise(transformer)
        return peak_of(transformer, lambda: BLOCKS[family].call(transformer, batch, pixels), half=False)


def report(
    title: str, family: Blocks, measure: Callable[[Counts, int, int], int], sizes: list[tuple[int, int]]
) -> None:
    """Bytes per token and channel, with one block of each kind and with two more of one kind."""
    few = (1,) * family.kinds
    more = [tuple(count + 2 * (kind == other) for other, count in enumerate(few)) for kind in range(family.kinds)]
    cases = [(few, *size) for size in sizes] + [(counts, *sizes[-1]) for counts in more]
    print(f"\n### {title}\n\n| blocks | batch | pixels | bytes per token and channel |\n| --- | --- | --- | --- |")
    for counts, batch, pixels in cases:
        tokens = batch * ((pixels / 16) ** 2 + family.text_tokens)
        share = measure(counts, batch, pixels) / tokens / family.width
        print(f"| {' + '.join(map(str, counts))} | {batch} | {pixels} | {share:.1f} |", flush=True)


def main(family: str) -> None:
    """Measure and print."""
    blocks = BLOCKS[family]
    sizes = [(1, 512), (2, 512), (1, 1024)]
    report("A forward pass without gradients", blocks, lambda *case: drawing_bytes(family, *case), sizes)
    for checkpointing, words in ((True, "with"), (False, "without")):

        def measure(counts: Counts, batch: int, pixels: int, *, checkpointing: bool = checkpointing) -> int:
            return training_bytes(family, counts, batch, pixels, checkpointing=checkpointing)

        report(f"A training step {words} checkpointing", blocks, measure, sizes)


if __name__ == "__main__":
    main(sys.argv[1])
