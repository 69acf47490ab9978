"""Latents as tokens, against diffusers' pipelines."""

from __future__ import annotations

import torch
from diffusers import FluxPipeline, QwenImagePipeline

from tasks.text_to_image.families.flow.packing import pack, unpack


def test_latents_are_packed_as_the_pipelines_pack_them_and_unpacked_again() -> None:
    latents = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    for pipeline in (FluxPipeline, QwenImagePipeline):
        assert torch.equal(pack(latents), pipeline._pack_latents(latents, 2, 3, 4, 6))
    assert torch.equal(unpack(pack(latents), 4, 6), latents)
