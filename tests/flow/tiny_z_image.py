"""`python tests/flow/tiny_z_image.py FOLDER`: a Z-Image in miniature with seeded random weights, for tests."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel

from pocket import tokenizer as pocket_tokenizer

WIDTH = 32


def build() -> ZImagePipeline:
    """The same weights each time; 32 × 32 pictures are 8 × 8 latents, 4 × 4 patches."""
    torch.manual_seed(0)
    tokenizer = pocket_tokenizer.train()
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            hidden_size=WIDTH,
            intermediate_size=WIDTH + 5,
            num_attention_heads=4,
            num_hidden_layers=2,
            vocab_size=len(tokenizer),
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    transformer = ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=WIDTH,
        axes_dims=[4, 6, 6], axes_lens=[1024, 64, 64],
    )  # fmt: skip
    for name in ("x_pad_token", "cap_pad_token"):  # left as the memory was, in models made from a configuration
        torch.nn.init.normal_(getattr(transformer, name), std=0.02)
    vae = AutoencoderKL(
        block_out_channels=(16, 16, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=32,
        scaling_factor=0.3611,
        shift_factor=0.1159,
    )
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return ZImagePipeline(scheduler, vae, text_encoder, tokenizer, transformer)


if __name__ == "__main__":
    build().save_pretrained(Path(sys.argv[1]))
