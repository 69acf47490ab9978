"""SDXL: two text encoders, a pooled embedding, the picture's sizes as conditioning (Podell et al. 2023, §2.2).

Shapes: as in `family`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.text_to_image.families.unet import FILE_PARTS, UNetFamily
from tasks.text_to_image.models.presets import Size

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.text_to_image.families.model import Conditioning, Model
    from tasks.text_to_image.models.lora_file import Module

LORA_NAMES = (
    *("lora_unet_input_blocks_", "lora_unet_middle_block_", "lora_unet_output_blocks_"),
    *("lora_te1_", "lora_te2_", "text_encoder_2."),
)
LAYERS_PER_BLOCK = 2
SGM_OUTSIDE_BLOCKS = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
SGM_IN_RESNETS = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
BLOCK = re.compile(r"(down|mid|up)_blocks?\.(?:(\d+)\.)?(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")


class StableDiffusionXL(UNetFamily):
    """SDXL and models derived from it."""

    name, title, base_version = "sdxl", "SDXL", "sdxl_base_v1-0"
    header_name, hub_name = r"(stable-diffusion|sd)[-_]?v?xl", "xl"
    in_file, text_width = "conditioner.embedders.1.", 2048
    file_parts = {
        **FILE_PARTS,
        "conditioner.embedders.0.": "text_encoder",
        "conditioner.embedders.1.": "text_encoder_2",
    }
    described = {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
    }
    decodes_in_fp32 = True
    resolution = 1024
    sizes = {
        8: Size(1, True, 16, 0),
        10: Size(2, True, 16, 0),
        12: Size(4, True, 16, 0),
        16: Size(4, True, 16, 0),
        24: Size(4, True, 32, 1),
        32: Size(1, False, 32, 2),
        40: Size(2, False, 32, 1),
        48: Size(2, False, 32, 4),
        80: Size(4, False, 32, 8),
    }
    on_cpu = Size(1, True, 8, 1, resolution=512)
    pipeline_class = "StableDiffusionXLPipeline"
    text_encoders = ("text_encoder", "text_encoder_2")
    normalizations = frozenset({"latents_mean", "latents_std"})
    lora_prefixes = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
    architectures = {"epsilon": "stable-diffusion-xl-v1-base", "v_prediction": "stable-diffusion-xl-v1-base"}
    implementation = "https://github.com/Stability-AI/generative-models"
    fixed_layer = "their last layer but one"

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        """Only SDXL has two text encoders, and only for SDXL does kohya write the authors' block names."""
        return any(name.startswith(LORA_NAMES) for name in modules) or super().recognises_lora(modules)

    def unread_layers(self, text_encoder: str, clip_skip: int) -> int:
        """The last layer of the first text encoder. The pooled embedding uses the last layer of the second."""
        return 1 if text_encoder == "text_encoder" else 0

    def encode_captions(self, model: Model, captions: list[str]) -> Conditioning:
        """As in the base class; an empty caption is all zeros if the pipeline's guidance uses zeros."""
        import torch

        embeds, pooled = self._encode(model, captions)
        if model.pipeline.config.force_zeros_for_empty_prompt:
            has_text_B = torch.tensor([bool(caption) for caption in captions], device=embeds.device)
            embeds, pooled = embeds * has_text_B[:, None, None], pooled * has_text_B[:, None]
        return {"encoder_hidden_states": embeds, "text_embeds": pooled}

    def predict(
        self, model: Model, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning
    ) -> Tensor:
        added = {"text_embeds": conditioning["text_embeds"], "time_ids": conditioning["time_ids"]}
        hidden_states = conditioning["encoder_hidden_states"]
        return model.denoiser(
            noisy_latents_BCHW, timesteps_B, hidden_states, added_cond_kwargs=added, return_dict=False
        )[0]

    def prompt_arguments(self, model: Model, prompts: list[str], negative_prompts: list[str]) -> dict[str, Any]:
        (embeds, pooled), negative = self._encode(model, prompts), self.encode_captions(model, negative_prompts)
        arguments = {
            "prompt_embeds": embeds,
            "negative_prompt_embeds": negative["encoder_hidden_states"],
            "pooled_prompt_embeds": pooled,
            "negative_pooled_prompt_embeds": negative["text_embeds"],
        }
        return {name: embeds.to(model.pipeline.device) for name, embeds in arguments.items()}

    def lora_names(self, module: str) -> list[str]:
        """kohya uses the module names of SDXL's authors for the UNet; other programs write diffusers' names."""
        part, _, rest = module.partition(".")
        names = [sgm_name(rest), rest] if part == "unet" else [rest]
        return [self.lora_prefixes[part] + name.replace(".", "_") for name in names]

    def _encode(self, model: Model, texts: list[str]) -> tuple[Tensor, Tensor]:
        """The states before both encoders' last layer, (B, L, D), and the second one's pooled first pass, (B, D)."""
        import torch

        from tasks.text_to_image.families import clip_text

        first, second = (clip_text.read(model, name, texts, output_hidden_states=True) for name in self.text_encoders)
        embeds = torch.cat([clip_text.joined(model, output.hidden_states[-2]) for output in (first, second)], dim=-1)
        pooled = second.text_embeds.unflatten(0, (-1, clip_text.passes(model)))[:, 0]
        return embeds.to(model.pipeline.text_encoder_2.dtype), pooled


def sgm_name(module: str) -> str:
    """The name of a module of diffusers' SDXL UNet in the authors' flat lists of blocks."""
    match = BLOCK.fullmatch(module)
    if not match:
        return SGM_OUTSIDE_BLOCKS[module]
    side, block, kind, layer, rest = match[1], int(match[2] or 0), match[3], int(match[4]), match[5]
    after = (block + 1) * (LAYERS_PER_BLOCK + 1)
    if kind == "downsamplers":
        return f"input_blocks.{after}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{after - 1}.2.{rest}"
    rest = SGM_IN_RESNETS[rest] if kind == "resnets" else rest
    if side == "mid":
        return f"middle_block.{1 if kind == 'attentions' else 2 * layer}.{rest}"
    flat = block * (LAYERS_PER_BLOCK + 1) + layer
    place = f"input_blocks.{1 + flat}" if side == "down" else f"output_blocks.{flat}"
    return f"{place}.{int(kind == 'attentions')}.{rest}"
