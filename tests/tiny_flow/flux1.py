"""FLUX.1 in miniature: CLIP, T5, the transformer with blocks of both kinds, the VAE and the scheduler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from pocket import tokenizer as pocket_tokenizer
from tasks.text_to_image.families.flow import flux1_names
from tests.tiny_flow import t5
from tests.tiny_flow.kl_vae import kl_vae
from tests.tiny_model import text_config
from tests.true_vae import VAE

CLIP_WIDTH = 32


def dev() -> FluxPipeline:
    """Takes the guidance scale as an input; shifts larger pictures more."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return _build(scheduler, guidance_embeds=True)


def kontext() -> FluxKontextPipeline:
    """dev's transformer in the pipeline that edits."""
    return FluxKontextPipeline(**dev().components)


def schnell() -> FluxPipeline:
    """Takes no guidance scale; does not shift."""
    return _build(FlowMatchEulerDiscreteScheduler(shift=1.0), guidance_embeds=False)


def _build(scheduler: FlowMatchEulerDiscreteScheduler, *, guidance_embeds: bool) -> FluxPipeline:
    """The same weights each time; 32 × 32 pictures are 8 × 8 latents, 4 × 4 tokens."""
    torch.manual_seed(0)
    tokenizer_2 = t5.tokenizer()
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=t5.WIDTH,
        pooled_projection_dim=CLIP_WIDTH,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 6, 6),
    )
    vae = kl_vae(0.3611, 0.1159)
    return FluxPipeline(
        scheduler=scheduler,
        vae=vae,
        text_encoder=CLIPTextModel(text_config(CLIP_WIDTH)),
        tokenizer=pocket_tokenizer.train(),
        text_encoder_2=t5.encoder(len(tokenizer_2)),
        tokenizer_2=tokenizer_2,
        transformer=transformer,
    )


def true_parts() -> dict[str, torch.nn.Module]:
    """In their true sizes; dev's and schnell's differ in the embedding of the guidance scale only."""
    clip = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    return {
        "transformer": FluxTransformer2DModel(guidance_embeds=True),
        "vae": AutoencoderKL(**VAE, latent_channels=16),
        "text_encoder": CLIPTextModel(clip),
        "text_encoder_2": t5.true_encoder(),
    }


def authors_file(transformer: Any) -> dict[str, torch.Tensor]:
    """Its weights under the authors' names, the inverse of what `flux1_names` says; norm_out's halves stay."""
    own = transformer.state_dict()
    config, found = transformer.config, dict[str, torch.Tensor]()
    modules = [*flux1_names.OUTSIDE]
    for kind, count in (("double", config.num_layers), ("single", config.num_single_layers)):
        modules += [f"{kind}_blocks.{number}.{name}" for number in range(count) for name in flux1_names.INSIDE[kind]]
    for module in modules:
        names = [piece.name for piece in flux1_names.pieces(module)]
        for leaf in ("weight", "bias"):
            values = [own[f"{name}.{leaf}"] for name in names if f"{name}.{leaf}" in own]
            if values:
                theirs = "scale" if module.endswith("_norm") else leaf
                found[f"{module}.{theirs}"] = torch.cat(values)
    return found


def write_file(transformer: Any, path: Path, prefix: str = "") -> None:
    """As the world trades it."""
    save_file({prefix + name: value.contiguous() for name, value in authors_file(transformer).items()}, path)
