"""The base model of the run: everything of a Stable Diffusion but the denoiser's weights.

VAE and text encoder have been taught (`vae`, `text_tower`). The denoiser learns from scratch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from examples.kanji.glyphs import SIZE
from examples.kanji.text_tower import WIDTH
from examples.kanji.vae import CHANNELS
from pocket.training.unet import sampler

CONFIG: dict[str, Any] = {
    "sample_size": SIZE // 8,
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "block_out_channels": (64, 128, 256),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "cross_attention_dim": WIDTH,
    "norm_num_groups": 16,
}
"""Three levels: at the lowest, 2 × 2, each place is a corner, so a code of the whole glyph can be laid out there."""


def write(folder: Path, vae: AutoencoderKL, tower: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
    """Write the folder; the denoiser's has a configuration only."""
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
