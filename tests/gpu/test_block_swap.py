"""Swapped blocks on a GPU: the same numbers, less memory, and copies that arrive before they are used."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import ZImageTransformer2DModel
from diffusers.training_utils import cast_training_params
from peft import LoraConfig

from tasks.text_to_image.weights.block_swap import BlockSwap

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
DEVICE, DTYPE = torch.device("cuda", 0), torch.bfloat16
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
NUM_BLOCKS = 12


def trained(blocks_to_swap: int) -> tuple[list[float], list[torch.Tensor], int]:
    """Losses and adapter after three steps of two micro-batches, and the peak of allocated bytes."""
    torch.manual_seed(0)
    transformer: Any = ZImageTransformer2DModel(
        dim=1536, n_layers=NUM_BLOCKS, n_refiner_layers=1, n_heads=12, n_kv_heads=12, cap_feat_dim=256
    )
    for token in (transformer.x_pad_token, transformer.cap_pad_token):
        torch.nn.init.zeros_(token)
    transformer = transformer.to(DTYPE).requires_grad_(False)
    transformer.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=TARGETS, init_lora_weights="gaussian"))
    cast_training_params(transformer, dtype=torch.float32)
    transformer.enable_gradient_checkpointing()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    if blocks_to_swap:
        BlockSwap(transformer, blocks_to_swap, DEVICE)
    transformer.to(DEVICE).train()
    weights = [weight for weight in transformer.parameters() if weight.requires_grad]
    optimizer, losses = torch.optim.AdamW(weights, lr=1e-2), []
    for step in range(6):
        generator = torch.Generator().manual_seed(step)
        latents = [torch.randn(16, 1, 32, 32, generator=generator).to(DEVICE, DTYPE)]
        captions = [torch.randn(40, 256, generator=generator).to(DEVICE, DTYPE)]
        with torch.autocast("cuda", DTYPE):
            predicted = transformer(latents, torch.tensor([0.3], device=DEVICE), captions, return_dict=False)[0][0]
        loss = (predicted.float() - 1).square().mean()
        loss.backward()
        losses.append(loss.item())
        if step % 2:
            optimizer.step()
            optimizer.zero_grad()
    return losses, [weight.detach().cpu() for weight in weights], torch.cuda.max_memory_allocated()


@pytest.fixture(scope="module")
def whole() -> tuple[list[float], list[torch.Tensor], int]:
    return trained(0)


@pytest.mark.parametrize("blocks_to_swap", [1, 6, NUM_BLOCKS])
def test_swapped_blocks_learn_the_same_in_less_memory(
    blocks_to_swap: int, whole: tuple[list[float], list[torch.Tensor], int]
) -> None:
    losses, weights, peak = trained(blocks_to_swap)
    assert losses == whole[0]
    assert all(torch.equal(one, other) for one, other in zip(weights, whole[1], strict=True))
    if blocks_to_swap > 3:
        block = 12 * 1536 * 1536 * 2
        assert whole[2] - peak > 0.7 * (blocks_to_swap - 3) * block
