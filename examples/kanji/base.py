"""The base model of the run: everything of a Stable Diffusion but the denoiser's weights.

The VAE is pocket's: at 128 × 128 its round trips of glyphs can be read. The denoiser learns from scratch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from examples.kanji.text_tower import WIDTH
from pocket import SMALL_VAE
from pocket.training.unet import sampler

CONFIG: dict[str, Any] = {
    "sample_size": 16,
    "in_channels": 8,
    "out_channels": 8,
    "block_out_channels": (32, 96, 192, 256),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "cross_attention_dim": WIDTH,
    "norm_num_groups": 16,
}
"""Four levels: at the lowest, 2 × 2, each place is a corner, so a code of the whole glyph can be laid out there."""


def write(folder: Path, tower: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
    """Write the folder; the denoiser's has a configuration only."""
    vae = AutoencoderKL.from_pretrained(SMALL_VAE, torch_dtype=torch.float32)
    vae.register_to_config(_name_or_path="")
    parts: dict[str, Any] = {
        "vae": vae,
        "text_encoder": tower,
        "tokenizer": tokenizer,
        "unet": UNet2DConditionModel(**CONFIG),
        "scheduler": sampler(),
        "safety_checker": None,
        "feature_extractor": None,
    }
    StableDiffusionPipeline(**parts, requires_safety_checker=False).save_pretrained(folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
