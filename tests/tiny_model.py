"""`python tests/tiny_model.py FOLDER`: Stable Diffusions in miniature with seeded random weights, for tests.

Each family has its true architecture, thousands of weights instead of millions: classes, block types, number of
encoders, what conditions the UNet, what is predicted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from pocket import tokenizer as pocket_tokenizer

BETAS: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}


def sd1() -> StableDiffusionPipeline:
    """SD 1.x: CLIP ViT-L, projections by convolution, predicts noise."""
    text_encoder = CLIPTextModel(text_config(32))
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    return _stable_diffusion(unet, text_encoder, DDIMScheduler(clip_sample=False, **BETAS))


def sd2() -> StableDiffusionPipeline:
    """SD 2.x at 768 px: OpenCLIP, linear projections, a head size per block, predicts v."""
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=48,
        attention_head_dim=(4, 8),
        use_linear_projection=True,
        norm_num_groups=8,
    )
    text_encoder = CLIPTextModel(text_config(48, hidden_act="gelu", num_hidden_layers=3))
    scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction", **BETAS)
    return _stable_diffusion(unet, text_encoder, scheduler)


def sdxl() -> StableDiffusionXLPipeline:
    """SDXL: two text encoders, a pooled embedding, sizes as conditioning, a VAE that must run in fp32."""
    text_encoder, text_encoder_2 = (
        CLIPTextModel(text_config(32)),
        CLIPTextModelWithProjection(text_config(48, hidden_act="gelu", num_hidden_layers=3, projection_dim=40)),
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 32, 64),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2),
        attention_head_dim=(2, 4, 8),
        use_linear_projection=True,
        cross_attention_dim=32 + 48,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=40 + 6 * 8,
        norm_num_groups=8,
    )
    return StableDiffusionXLPipeline(
        vae=_vae(scaling_factor=0.13025, force_upcast=True),
        text_encoder=text_encoder,
        text_encoder_2=text_encoder_2,
        tokenizer=pocket_tokenizer.train(),
        tokenizer_2=pocket_tokenizer.train(),
        unet=unet,
        scheduler=EulerDiscreteScheduler(**BETAS),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


FAMILIES = {"sd1": sd1, "sd2": sd2, "sdxl": sdxl}


def build(family: str) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
    """The miniature of a family; the same weights each time."""
    torch.manual_seed(0)
    return FAMILIES[family]()


def _stable_diffusion(
    unet: UNet2DConditionModel, text_encoder: CLIPTextModel, scheduler: DDIMScheduler
) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=text_encoder,
        tokenizer=pocket_tokenizer.train(),
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _vae(**settings: Any) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 16, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=32,
        **settings,
    )


def text_config(width: int, **settings: Any) -> CLIPTextConfig:
    """A CLIP of this width, for the pocket tokenizer."""
    tokenizer = pocket_tokenizer.train()
    arguments = {
        "hidden_size": width,
        "intermediate_size": width + 5,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return CLIPTextConfig(**{**arguments, **settings})


if __name__ == "__main__":
    for name in FAMILIES:
        build(name).save_pretrained(Path(sys.argv[1]) / name)
