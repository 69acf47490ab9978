"""The shapes of true base models, from their architectures: no weights, no files."""

from __future__ import annotations

import functools
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.models.memory import ModelShapes
from tasks.text_to_image.models.weights_header import Tensors, TensorShape
from tests.tiny_flow import MINIATURES, SIBLINGS, TOO_LARGE
from tests.true_vae import VAE

UNETS: dict[str, dict[str, Any]] = {
    "sd1": {"cross_attention_dim": 768, "attention_head_dim": 8},
    "sd2": {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True},
    "sdxl": {
        "cross_attention_dim": 2048,
        "attention_head_dim": [5, 10, 20],
        "use_linear_projection": True,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": [1, 2, 10],
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
VIT_L: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
VIT_H: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
}
VIT_G: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
}


@functools.cache
def true_shapes(family: str) -> ModelShapes:
    """As `memory.read_shapes` would read them from the published files."""
    with torch.device("meta"):
        parts = {name: made.true_parts for name, made in {**MINIATURES, **SIBLINGS}.items()} | TOO_LARGE
        modules = parts[family]() if family in parts else _stable_diffusion(family)
    denoiser: Any = modules[FAMILIES[family].denoiser]
    tensors = {name: _tensors(module) for name, module in modules.items()}
    vae: Any = modules["vae"]
    return ModelShapes(FAMILIES[family], tensors, dict(denoiser.config), FAMILIES[family].vae_channels(vae.config))


def _stable_diffusion(family: str) -> dict[str, torch.nn.Module]:
    modules: dict[str, torch.nn.Module] = {"unet": UNet2DConditionModel(**UNETS[family]), "vae": AutoencoderKL(**VAE)}
    modules["text_encoder"] = CLIPTextModel(CLIPTextConfig(**(VIT_H if family == "sd2" else VIT_L)))
    if family == "sdxl":
        modules["text_encoder_2"] = CLIPTextModelWithProjection(CLIPTextConfig(**VIT_G, projection_dim=1280))
    return modules


def _tensors(module: torch.nn.Module) -> Tensors:
    stored = module.state_dict()
    values = {**dict(module.named_parameters()), **dict(module.named_buffers())}  # each once, whatever its names
    return {name: TensorShape(tuple(value.shape), "F16") for name, value in values.items() if name in stored}
