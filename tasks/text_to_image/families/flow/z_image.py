"""Z-Image: a transformer of one stream that learns by flow matching; captions are lists of different lengths.

Its time runs from noise to picture, and what it predicts points there: both are turned around here. Its text encoder,
Qwen3, has two thirds of the transformer's size and is loaded only while something is to be encoded.

Shapes: as in `family`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.config.schema import POCKET_FLOW
from tasks.text_to_image.families.flow.authors_names import renamed, third
from tasks.text_to_image.families.flow.caption_lengths import collate, listed, padded
from tasks.text_to_image.families.flow.flow_family import (
    FILE_PREFIX,
    FlowFamily,
    presets_of,
    require_plain_weights,
)
from tasks.text_to_image.families.flow.lora_names import in_blocks
from tasks.text_to_image.models.presets import Size
from tasks.text_to_image.models.weights_header import Tensors

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.text_to_image.families.model import Conditioning, Model
    from tasks.text_to_image.models.lora_file import Module

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("feed_forward.w1", "feed_forward.w2", "feed_forward.w3")
MODULATION = ("adaLN_modulation.0",)
STACKS = ("layers", "noise_refiner", "context_refiner")
QKV, OF_QKV = "attention.qkv", tuple(f"attention.to_{letter}" for letter in "qkv")
"""The authors' name of three layers in one matrix, which ComfyUI uses too, and diffusers' names."""
LAYERS = (*(f"attention.{layer}" for layer in (*ATTENTION, "out")), QKV, *FEED_FORWARD, *MODULATION)
OUTSIDE = (
    *("t_embedder.mlp.0", "t_embedder.mlp.2", "cap_embedder.1", "all_x_embedder.2-1", "x_embedder"),
    *("all_final_layer.2-1.linear", "final_layer.linear"),
)
MAX_TOKENS, TEMPLATE_TOKENS = 512, 8
"""Of a prompt in the chat template of Qwen3, and of the template alone."""
FIRST_MODULATION = "layers.0.adaLN_modulation.0.weight"
FILE_NAMES = (
    (r"^x_embedder\.", "all_x_embedder.2-1."),
    (r"^final_layer\.", "all_final_layer.2-1."),
    (r"\.attention\.out\.", ".attention.to_out.0."),
    (r"\.attention\.([qk])_norm\.", r".attention.norm_\1."),
)
"""The authors' names of modules in single files, and diffusers'."""


class ZImage(FlowFamily):
    """Z-Image and Z-Image-Turbo."""

    name, title = "z-image", "Z-Image"
    pipeline_class = "ZImagePipeline"
    denoiser_class = "ZImageTransformer2DModel"
    completed_by = undistilled = "Tongyi-MAI/Z-Image"
    distilled, distilled_steps = re.compile("turbo", re.IGNORECASE), 8
    architectures, base_version = {"flow": "Z-Image"}, "zimage"
    implementation = "https://github.com/Tongyi-MAI/Z-Image"
    header_name = hub_name = r"z[-_]?image"
    fixed_layer = "its last layer but one"
    max_tokens, text_window = MAX_TOKENS, MAX_TOKENS - TEMPLATE_TOKENS
    usual = ("logit_normal", 2.0)  # as musubi-tuner's guide for Z-Image
    usual_drawing = (
        (28, "its authors recommend 28 to 50"),
        (5.0, "its authors recommend 3 to 5, counted from 0: 4 to 6 here"),
    )
    presets = presets_of(ATTENTION, FEED_FORWARD, MODULATION)
    lora_modules = (*(name for stack in STACKS for name in in_blocks(stack, LAYERS)), *OUTSIDE)
    described = {"dim": 3840, "n_layers": 30, "n_refiner_layers": 2, "in_channels": 16}
    training_bytes, drawing_bytes = {True: (2, 88), False: (68, 149)}, 32
    # GB         batch  checkpointing  rank  pictures drawn at once
    sizes = {
        8: Size(1, True, 16, 0, blocks_to_swap=26),
        10: Size(1, True, 16, 1, blocks_to_swap=32, evaluation_blocks_to_swap=34),
        12: Size(1, True, 16, 1, blocks_to_swap=30, evaluation_blocks_to_swap=30),
        16: Size(1, True, 16, 1, blocks_to_swap=16, evaluation_blocks_to_swap=34),
        24: Size(1, True, 16, 1, evaluation_blocks_to_swap=26),
        32: Size(1, True, 32, 1, evaluation_blocks_to_swap=6),
        40: Size(2, True, 32, 2),
        48: Size(4, True, 32, 4),
        80: Size(1, False, 32, 4),
    }
    on_cpu = Size(1, True, 8, 1, resolution=512)

    def recognises_file(self, tensors: Tensors, file: Path) -> bool:
        names = {name.removeprefix(FILE_PREFIX) for name in tensors}
        if FIRST_MODULATION not in names:
            return False
        require_plain_weights(tensors, file)
        return True

    def tensors_of_file(self, tensors: Tensors) -> dict[str, Tensors]:
        """Under diffusers' names; queries, keys and values are one matrix in the authors' files."""
        found: Tensors = {}
        for name, tensor in tensors.items():
            own = renamed(name.removeprefix(FILE_PREFIX), FILE_NAMES)
            if own.endswith(".attention.qkv.weight"):
                found |= {own.replace(".qkv.", f".to_{letter}."): third(tensor) for letter in "qkv"}
            else:
                found[own] = tensor
        return {self.denoiser: found}

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        return any(re.match(rf"{self.denoiser}\.(layers|\w+_refiner)\.\d+\.attention\.", name) for name in modules)

    def own_names(self, module: str) -> list[str]:
        own = renamed(f"{module}.", FILE_NAMES).removesuffix(".")
        return [own.replace(QKV, layer) for layer in OF_QKV] if own.endswith(f".{QKV}") else [own]

    def exclude_modules(self, denoiser: Mapping[str, Any]) -> str:
        """In the last layer adaLN_modulation.0 is no matrix."""
        return r"all_final_layer\..*"

    def width(self, denoiser: Mapping[str, Any]) -> int:
        return denoiser["dim"]

    def blocks(self, denoiser: Mapping[str, Any]) -> tuple[int, ...]:
        return (denoiser["n_layers"],)

    def encode_captions(self, model: Model, captions: list[str]) -> Conditioning:
        """Padded with zeros to the longest: `lengths` (B,) says how much of `hidden_states` (B, L, D) is text.

        Encoded as the pipeline does, in the chat template and padded for the encoder, so that the states are the same.
        """
        encoder, tokenizer = model.pipeline.text_encoder, model.pipeline.tokenizer
        prompts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": caption}],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=True,
            )
            for caption in captions
        ]
        tokens = tokenizer(
            prompts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
        ).to(encoder.device)
        used_BL = tokens.attention_mask.bool()
        states_BLD = encoder(
            input_ids=tokens.input_ids, attention_mask=used_BL, output_hidden_states=True
        ).hidden_states[-2]
        return padded([states_LD[used_L] for states_LD, used_L in zip(states_BLD, used_BL, strict=True)])

    def collate(self, texts: Sequence[Conditioning]) -> Conditioning:
        return collate(texts)

    def predict(
        self, model: Model, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning
    ) -> Tensor:
        import torch

        frames = [*noisy_latents_BCHW.unsqueeze(2).unbind()]
        predicted = model.denoiser(frames, 1 - timesteps_B, listed(conditioning), return_dict=False)[0]
        return -torch.stack([*predicted]).squeeze(2)

    def prompt_arguments(self, model: Model, prompts: list[str], negative_prompts: list[str]) -> dict[str, Any]:
        arguments = {"prompt_embeds": prompts, "negative_prompt_embeds": negative_prompts}
        return {
            name: [states.to(model.device) for states in listed(model.encode_captions(texts))]
            for name, texts in arguments.items()
        }

    def guidance_arguments(self, scale: float) -> dict[str, Any]:
        """Its pipeline counts from 0: 0 is no guidance."""
        return {"guidance_scale": scale - 1}


class PocketFlow(ZImage):
    """Presets of the embedded miniature; its files have the format of Z-Image."""

    name, resolution = POCKET_FLOW, 128
    folder = "z-image"
    usual_drawing = ((20, "as the miniature is measured"), (1.0, "none, as in the demo: more makes it too colourful"))
    sizes = {}
    on_cpu = Size(4, False, 16, 16)
