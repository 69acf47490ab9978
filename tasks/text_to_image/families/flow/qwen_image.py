"""Qwen-Image: captions of different lengths and pictures as tokens, in two streams of one transformer.

Its text encoder, Qwen2.5-VL, reads a caption in a template that is cut off afterwards.

Shapes: as in `family`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.text_to_image.families import source_latents
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.families.flow.caption_lengths import collate, mask, padded
from tasks.text_to_image.families.flow.flow_family import presets_of, require_plain_weights, without_prefix
from tasks.text_to_image.families.flow.lora_names import in_blocks
from tasks.text_to_image.families.flow.packing import PATCH, pack, unpack
from tasks.text_to_image.families.flow.video_vae import VideoVaeFamily
from tasks.text_to_image.models.presets import Size
from tasks.text_to_image.models.weights_header import Tensors

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.text_to_image.families.model import Conditioning, Model
    from tasks.text_to_image.models.lora_file import Module

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
CAPTION = ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
FEED_FORWARD = ("img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2")
MODULATION = ("img_mod.1", "txt_mod.1")
OUTSIDE = (
    *("img_in", "txt_in", "norm_out.linear", "proj_out"),
    *("time_text_embed.timestep_embedder.linear_1", "time_text_embed.timestep_embedder.linear_2"),
)
MAX_TOKENS, END_TOKENS = 512, 5
"""Of a caption with the template's end, the pipeline's default, and of that end."""
READ_TOKENS = 1024
"""Of a caption with the template's end that the text encoder reads."""
FIRST_MODULATION, TEXT_NORM = "transformer_blocks.0.img_mod.1.weight", "txt_norm.weight"
ADDED_CONDITION = "time_text_embed.addition_t_embedding.weight"
"""Of Qwen-Image-Layered."""
MOST_BLOCKS_OF_OTHERS = 38
"""Of those that call them `transformer_blocks` too: SD3.5 large."""


class QwenImage(VideoVaeFamily):
    """Qwen-Image and Qwen-Image-2512."""

    name, title, base_version = "qwen-image", "Qwen-Image", "qwen_image"
    header_name = r"qwen[-_]?image(?!-(edit|layered|2\.))"
    hub_name = r"qwen[-_]?image(?![-_]?(edit|layered|2\.))"
    architectures = {"flow": "Qwen-Image"}
    implementation = "https://github.com/QwenLM/Qwen-Image"
    pipeline_class = "QwenImagePipeline"
    denoiser_class = "QwenImageTransformer2DModel"
    completed_by = undistilled = "Qwen/Qwen-Image"
    file_has_own_names = True
    distilled, distilled_steps = re.compile("lightning", re.IGNORECASE), 8
    fixed_layer = "its last layer"
    max_tokens, text_window = MAX_TOKENS, MAX_TOKENS - END_TOKENS
    usual = ("logit_normal", 2.2)  # as musubi-tuner's guide for Qwen-Image
    usual_drawing = (50, "its authors recommend it"), (4.0, "its authors recommend it")
    presets = presets_of(ATTENTION, (*CAPTION, *FEED_FORWARD), MODULATION)
    lora_modules = (
        *in_blocks(
            "transformer_blocks", (*(f"attn.{layer}" for layer in (*ATTENTION, *CAPTION)), *FEED_FORWARD, *MODULATION)
        ),
        *OUTSIDE,
    )
    described = {"num_layers": 60, "num_attention_heads": 24, "attention_head_dim": 128}
    training_bytes, drawing_bytes = {True: (2, 73), False: (44, 24)}, 29
    # GB         batch  checkpointing  rank  pictures drawn at once
    sizes = {
        8: Size(1, True, 16, 0, "fp8", blocks_to_swap=52),
        10: Size(1, True, 16, 0, "fp8", blocks_to_swap=46),
        12: Size(1, True, 16, 0, "fp8", blocks_to_swap=42),
        16: Size(1, True, 16, 0, "fp8", blocks_to_swap=30),
        24: Size(1, True, 16, 1, "fp8", blocks_to_swap=40, evaluation_blocks_to_swap=54),
        32: Size(1, True, 16, 1, "fp8", blocks_to_swap=22, evaluation_blocks_to_swap=52),
        40: Size(1, True, 16, 1, blocks_to_swap=42, evaluation_blocks_to_swap=42),
        48: Size(1, True, 16, 1, blocks_to_swap=32, evaluation_blocks_to_swap=40),
        80: Size(1, True, 16, 1, evaluation_blocks_to_swap=24),
    }
    on_cpu = Size(1, True, 8, 1, resolution=512)

    def recognises_file(self, tensors: Tensors, file: Path) -> bool:
        names = without_prefix(tensors).keys()
        if not names >= {FIRST_MODULATION, TEXT_NORM} or ADDED_CONDITION in names:
            return False
        require_plain_weights(tensors, file)
        return True

    def tensors_of_file(self, tensors: Tensors) -> dict[str, Tensors]:
        return {self.denoiser: without_prefix(tensors)}

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        """By the names of its layers, or by more blocks than others have."""
        block = re.compile(rf"{self.denoiser}\.transformer_blocks\.(\d+)\.((?:img|txt)_(?:mlp|mod)\.)?")
        found = [match for match in map(block.match, modules) if match]
        return any(match[2] or int(match[1]) >= MOST_BLOCKS_OF_OTHERS for match in found)

    def takes_loras_of(self, other: Family) -> bool:
        return isinstance(other, QwenImage) and other.patch == self.patch

    def exclude_modules(self, denoiser: Mapping[str, Any]) -> str | None:
        """What only changes the caption's tokens in the last block: nobody reads them afterwards."""
        last = rf"transformer_blocks\.{denoiser['num_layers'] - 1}"
        return rf"{last}\.(attn\.(add_q_proj|to_add_out)|txt_mlp\..*)"

    def encode_captions(self, model: Model, captions: list[str]) -> Conditioning:
        """Padded with zeros to the longest: `lengths` (B,) says how much of `hidden_states` (B, L, D) is text."""
        pipeline = model.pipeline
        template, cut = pipeline.prompt_template_encode, pipeline.prompt_template_encode_start_idx
        encoder = pipeline.text_encoder
        tokens = pipeline.tokenizer(
            [template.format(caption) for caption in captions],
            max_length=READ_TOKENS + cut,
            padding=True,
            truncation=True,
            return_tensors="pt",
        ).to(encoder.device)
        states_BLD = encoder(
            input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, output_hidden_states=True
        ).hidden_states[-1]
        used_BL = tokens.attention_mask.bool()
        pairs = zip(states_BLD, used_BL, strict=True)
        return padded([states_LD[used_L][cut : cut + MAX_TOKENS] for states_LD, used_L in pairs])

    def collate(self, texts: Sequence[Conditioning]) -> Conditioning:
        return collate(texts)

    def predict(
        self, model: Model, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning
    ) -> Tensor:
        import torch

        height, width = noisy_latents_BCHW.shape[-2:]
        seen = [noisy_latents_BCHW, *source_latents.of(conditioning)]
        shapes = [(1, *(side // PATCH for side in each.shape[-2:])) for each in seen]
        tokens = [pack(each) for each in seen]
        mask_BL = mask(conditioning)
        predicted = model.denoiser(
            hidden_states=torch.cat(tokens, dim=1),
            timestep=timesteps_B,
            encoder_hidden_states=conditioning["hidden_states"],
            encoder_hidden_states_mask=None if mask_BL.all() else mask_BL,  # attention has a faster way without
            img_shapes=[shapes] * len(noisy_latents_BCHW),
            return_dict=False,
        )[0]
        return unpack(predicted[:, : tokens[0].shape[1]], height, width)

    def prompt_arguments(self, model: Model, prompts: list[str], negative_prompts: list[str]) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for prefix, texts in (("", prompts), ("negative_", negative_prompts)):
            encoded = {name: value.to(model.device) for name, value in model.encode_captions(texts).items()}
            arguments[f"{prefix}prompt_embeds"] = encoded["hidden_states"]
            arguments[f"{prefix}prompt_embeds_mask"] = mask(encoded)
        return arguments

    def guidance_arguments(self, scale: float) -> dict[str, Any]:
        """`guidance_scale` of its pipeline is for models that take it as input; at 1, negative prompts do nothing."""
        unused = dict.fromkeys(("negative_prompt_embeds", "negative_prompt_embeds_mask")) if scale <= 1 else {}
        return {"true_cfg_scale": scale, **unused}
