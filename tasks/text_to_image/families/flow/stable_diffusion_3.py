"""SD3 medium, SD3.5 medium and SD3.5 large: captions and picture in two streams of one transformer (Esser et al. 2024).

Three text encoders: the states of two CLIPs, side by side and padded with zeros to the width of the T5, and after them
those of the T5; beside them the CLIPs' pooled states. A pipeline may lack the T5, which has twice the size of SD3.5
medium: its states are zeros then.

Shapes: as in `family`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.text_to_image.families.family import COMFYUI_PREFIX
from tasks.text_to_image.families.flow.authors_names import renamed, third
from tasks.text_to_image.families.flow.flow_family import (
    FILE_PREFIX,
    OTHER_PARTS,
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

PICTURE = ("to_q", "to_k", "to_v", "to_out.0")
CAPTION = ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
ATTENTION = (*PICTURE, *CAPTION)
"""Also of the picture's second attention in SD3.5 medium, which diffusers' script leaves out and kohya's adapts."""
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")
MODULATION = ("norm1.linear", "norm1_context.linear")
OUTSIDE = (
    *("context_embedder", "norm_out.linear", "proj_out"),
    *(f"time_text_embed.{part}_embedder.linear_{number}" for part in ("timestep", "text") for number in (1, 2)),
)
CLIP_TOKENS, T5_TOKENS = 77, 256
"""Of a caption: what the CLIPs read, with start and end, and the T5, with an end; the pipeline's default."""
FIRST_MODULATION = "joint_blocks.0.context_block.adaLN_modulation.1.weight"
SECOND_ATTENTION, NORM = "joint_blocks.0.x_block.attn2.qkv.weight", "joint_blocks.0.x_block.attn.ln_q.weight"
FILE_NAMES = (
    (r"^joint_blocks\.", "transformer_blocks."),
    (r"\.context_block\.attn\.proj\.", ".attn.to_add_out."),
    (r"\.x_block\.(attn2?)\.proj\.", r".\1.to_out.0."),
    (r"\.context_block\.attn\.qkv\.", ".attn.add_qkv."),
    (r"\.context_block\.attn\.ln_", ".attn.norm_added_"),
    (r"\.ln_", ".norm_"),
    (r"\.context_block\.mlp\.", ".ff_context."),
    (r"\.x_block\.mlp\.", ".ff."),
    (r"\.fc1\.", ".net.0.proj."),
    (r"\.fc2\.", ".net.2."),
    (r"\.context_block\.adaLN_modulation\.1\.", ".norm1_context.linear."),
    (r"\.x_block\.adaLN_modulation\.1\.", ".norm1.linear."),
    (r"\.(x|context)_block\.", "."),
)
"""The authors' names of modules in single files, and diffusers'."""
INSIDE = ("attn.qkv", "attn.proj", "attn2.qkv", "attn2.proj", "mlp.fc1", "mlp.fc2", "adaLN_modulation.1")
"""What LoRAs adapt of a block, by the authors' names."""
MODULE = re.compile(rf"joint_blocks\.\d+\.(x|context)_block\.({'|'.join(map(re.escape, INSIDE))})")
KOHYA = re.compile(r"lora_unet_joint_blocks_(\d+)_(x|context)_block_(.+)")
SPLIT = {".qkv.": [f".to_{letter}." for letter in "qkv"], ".add_qkv.": [f".add_{letter}_proj." for letter in "qkv"]}
"""Matrices that are one in the authors' files."""
RECOMMENDED = "its authors recommend it"
"""On the model's page."""


class StableDiffusion3(FlowFamily):
    """SD3 medium, and what SD3.5 shares with it."""

    name, title, base_version = "sd3", "SD3 medium", "sd3-medium"
    header_name = hub_name = r"(stable-diffusion|sd)[-_]?v?3([-_]m|$)"
    architectures = {"flow": "stable-diffusion-v3-medium"}
    implementation = "https://github.com/Stability-AI/sd3.5"
    pipeline_class = "StableDiffusion3Pipeline"
    denoiser_class = "SD3Transformer2DModel"
    text_encoders = ("text_encoder", "text_encoder_2", "text_encoder_3")
    optional_parts = frozenset({"text_encoder_3", "tokenizer_3"})
    completed_by = "stabilityai/stable-diffusion-3-medium-diffusers"
    fixed_layer = "their last layer but one"
    max_tokens, text_window, window_tokenizer = CLIP_TOKENS + T5_TOKENS, T5_TOKENS - 1, "tokenizer_3"
    overflows_in_fp16 = False  # its authors draw in fp16
    usual = ("logit_normal", 3.0)  # Esser et al. 2024, 5.1 and 5.3.2; diffusers' script shifts by the scheduler's 3 too
    usual_drawing = (28, RECOMMENDED), (7.0, RECOMMENDED)
    presets = presets_of(ATTENTION, FEED_FORWARD, MODULATION)
    lora_modules = (
        *in_blocks("transformer_blocks", (f"attn.{layer}" for layer in ATTENTION)),
        *in_blocks("transformer_blocks", (*(f"attn2.{layer}" for layer in PICTURE), *FEED_FORWARD, *MODULATION)),
        *OUTSIDE,
    )
    described = {"num_layers": 24, "num_attention_heads": 24, "attention_head_dim": 64}
    training_bytes, drawing_bytes = {True: (0, 2, 53), False: (0, 33, 16)}, 27
    # GB         batch  checkpointing  rank  pictures drawn at once
    sizes = {
        8: Size(1, True, 16, 1, blocks_to_swap=12, evaluation_blocks_to_swap=24),
        10: Size(1, True, 16, 1, evaluation_blocks_to_swap=22),
        12: Size(1, True, 16, 1, evaluation_blocks_to_swap=10),
        16: Size(1, False, 16, 1, evaluation_blocks_to_swap=16),
        24: Size(2, False, 16, 1),
        32: Size(2, False, 32, 4),
        40: Size(4, False, 32, 2),
        48: Size(4, False, 32, 4),
        80: Size(4, False, 32, 4),
    }
    on_cpu = Size(1, True, 8, 1, resolution=512)

    def is_described_by(self, denoiser: Mapping[str, Any]) -> bool:
        return not denoiser.get("dual_attention_layers") and not denoiser.get("qk_norm")

    def recognises_file(self, tensors: Tensors, file: Path) -> bool:
        names = {name.removeprefix(FILE_PREFIX) for name in tensors}
        if FIRST_MODULATION not in names or not self.is_described_by(_described(names)):
            return False
        require_plain_weights(tensors, file)
        return True

    def tensors_of_file(self, tensors: Tensors) -> dict[str, Tensors]:
        """The transformer's, under diffusers' names; queries, keys and values are one matrix in the authors' files."""
        found: Tensors = {}
        for name, tensor in tensors.items():
            if not name.startswith(tuple(OTHER_PARTS)):
                own = _own_names(name.removeprefix(FILE_PREFIX))
                found |= dict.fromkeys(own, tensor if len(own) == 1 else third(tensor))
        return {self.denoiser: found}

    def own_modules(self, modules: Mapping[str, Module]) -> dict[str, Module] | None:
        """Of files with the authors' names too, such as kohya's: one update of them can be three modules' here."""
        authors = {name: _in_lora(name) for name in modules}
        if not any(authors.values()):
            return super().own_modules(modules)
        # in the last block diffusers has scale and shift in the other order: not translated, so that it is refused
        last = max(int(inside.split(".")[1]) for inside in authors.values() if inside)
        swapped = f"joint_blocks.{last}.context_block.adaLN_modulation.1"
        found: dict[str, Module] = {}
        for name, module in modules.items():
            inside = authors[name]
            if inside is None or inside == swapped:
                found[f"{self.denoiser}.{inside}" if inside else name] = module
                continue
            own = [tensor.removesuffix(".weight") for tensor in _own_names(f"{inside}.weight")]
            for number, one in enumerate(own):
                share = (number, number + 1, len(own))
                found[f"{self.denoiser}.{one}"] = replace(module, part=self.denoiser, share=share)
        return found

    def exclude_modules(self, denoiser: Mapping[str, Any]) -> str:
        """The caption's queries in the last block, whose answers nobody reads."""
        return rf"transformer_blocks\.{denoiser['num_layers'] - 1}\.attn\.add_q_proj"

    def blocks(self, denoiser: Mapping[str, Any]) -> tuple[int, ...]:
        """With a second attention, and without."""
        dual = len(denoiser.get("dual_attention_layers") or ())
        return (dual, denoiser["num_layers"] - dual)

    def encode_captions(self, model: Model, captions: list[str]) -> Conditioning:
        import torch
        from torch.nn.functional import pad

        from tasks.text_to_image.families import clip_text

        read = [clip_text.read(model, name, captions, output_hidden_states=True) for name in self.text_encoders[:2]]
        clips_BLD = torch.cat([output.hidden_states[-2] for output in read], dim=-1)
        t5_BLD = self._read_t5(model, captions, clips_BLD)
        clips_BLD = pad(clips_BLD, (0, t5_BLD.shape[-1] - clips_BLD.shape[-1]))
        return {
            "encoder_hidden_states": torch.cat([clips_BLD, t5_BLD], dim=1),
            "pooled_projections": torch.cat([output.text_embeds for output in read], dim=-1),
        }

    def _read_t5(self, model: Model, captions: list[str], like: Tensor) -> Tensor:
        """(B, L, D). like: of which device and precision zeros are, if there is no T5."""
        encoder, tokenizer = model.pipeline.text_encoder_3, model.pipeline.tokenizer_3
        if encoder is None:
            return like.new_zeros(len(captions), T5_TOKENS, _config(model)["joint_attention_dim"])
        tokens = tokenizer(captions, padding="max_length", max_length=T5_TOKENS, truncation=True, return_tensors="pt")
        return encoder(tokens.input_ids.to(encoder.device))[0]

    def predict(
        self, model: Model, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning
    ) -> Tensor:
        return model.denoiser(
            hidden_states=noisy_latents_BCHW,
            timestep=1000 * timesteps_B,
            encoder_hidden_states=conditioning["encoder_hidden_states"],
            pooled_projections=conditioning["pooled_projections"],
            return_dict=False,
        )[0]

    def prompt_arguments(self, model: Model, prompts: list[str], negative_prompts: list[str]) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for prefix, texts in (("", prompts), ("negative_", negative_prompts)):
            encoded = model.encode_captions(texts)
            arguments[f"{prefix}prompt_embeds"] = encoded["encoder_hidden_states"].to(model.device)
            arguments[f"{prefix}pooled_prompt_embeds"] = encoded["pooled_projections"].to(model.device)
        return arguments


class StableDiffusion35Large(StableDiffusion3):
    """SD3.5 large and SD3.5 large turbo."""

    name, title, base_version = "sd3.5-large", "SD3.5 large", "sd3.5-large"
    header_name, hub_name = r"(stable-diffusion|sd)[-_]?v?3[.-]5[-_]l", r"(stable-diffusion|sd)[-_]?v?3[.-]?5"
    architectures = {"flow": "stable-diffusion-v3.5-large"}
    completed_by = undistilled = "stabilityai/stable-diffusion-3.5-large"
    distilled, distilled_steps = re.compile("turbo", re.IGNORECASE), 4
    described = {"num_layers": 38, "num_attention_heads": 38, "attention_head_dim": 64}
    training_bytes = {True: (0, 2, 65), False: (0, 45, 16)}
    sizes = {
        8: Size(1, True, 16, 0, blocks_to_swap=30),
        10: Size(1, True, 16, 0, blocks_to_swap=26),
        12: Size(1, True, 16, 1, blocks_to_swap=32, evaluation_blocks_to_swap=38),
        16: Size(1, True, 16, 1, blocks_to_swap=22, evaluation_blocks_to_swap=38),
        24: Size(1, True, 16, 1, blocks_to_swap=20, evaluation_blocks_to_swap=22),
        32: Size(1, True, 32, 1, evaluation_blocks_to_swap=22),
        40: Size(1, True, 32, 1),
        48: Size(1, False, 32, 1, evaluation_blocks_to_swap=26),
        80: Size(2, False, 32, 2),
    }
    usual_drawing = (28, RECOMMENDED), (3.5, RECOMMENDED)

    def is_described_by(self, denoiser: Mapping[str, Any]) -> bool:
        return bool(denoiser.get("qk_norm")) and not denoiser.get("dual_attention_layers")

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        """By the width of the transformer, which is no other's."""
        width = self.width(self.described)
        queries = re.compile(rf"{self.denoiser}\.transformer_blocks\.\d+\.attn\.to_q")
        return any(queries.fullmatch(name) and module.shape[1] == width for name, module in modules.items())


class StableDiffusion35Medium(StableDiffusion3):
    """SD3.5 medium: the picture has a second attention, to itself, in the first 13 blocks."""

    name, title, base_version = "sd3.5-medium", "SD3.5 medium", "sd3.5-medium"
    header_name = r"(stable-diffusion|sd)[-_]?v?3[.-]5[-_]m"
    hub_name = r"(stable-diffusion|sd)[-_]?v?3[.-]?5[-_]?m"
    architectures = {"flow": "stable-diffusion-v3.5-medium"}
    completed_by = "stabilityai/stable-diffusion-3.5-medium"
    described = {**StableDiffusion3.described, "dual_attention_layers": tuple(range(13))}
    training_bytes = {True: (2, 0, 95), False: (71, 45, 16)}
    sizes = {
        8: Size(1, True, 16, 1, blocks_to_swap=20, evaluation_blocks_to_swap=24),
        10: Size(1, True, 16, 1, blocks_to_swap=12, evaluation_blocks_to_swap=22),
        12: Size(1, True, 16, 1, evaluation_blocks_to_swap=20),
        16: Size(2, True, 16, 1),
        24: Size(1, False, 16, 1, evaluation_blocks_to_swap=6),
        32: Size(1, False, 32, 4),
        40: Size(2, False, 32, 4),
        48: Size(2, False, 32, 4),
        80: Size(4, False, 32, 4),
    }
    usual_drawing = (40, RECOMMENDED), (4.5, RECOMMENDED)

    def is_described_by(self, denoiser: Mapping[str, Any]) -> bool:
        return bool(denoiser.get("dual_attention_layers"))

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        return any(re.match(rf"{self.denoiser}\.transformer_blocks\.\d+\.attn2\.", name) for name in modules)


def _described(names: set[str]) -> dict[str, Any]:
    """As much of a transformer's configuration as tells the families apart. names: in a file of the authors."""
    return {"dual_attention_layers": SECOND_ATTENTION in names, "qk_norm": NORM in names}


def _own_names(name: str) -> list[str]:
    """diffusers' names of a tensor of the authors': one, or those of queries, keys and values."""
    name = renamed(name, FILE_NAMES)
    joined = next((joined for joined in SPLIT if joined in name), "")
    return [name.replace(joined, own) for own in SPLIT[joined]] if joined else [name]


def _in_lora(name: str) -> str | None:
    """The authors' name of a module in a LoRA file with ComfyUI's prefix or kohya's names; None: it has another."""
    plain = name.removeprefix(COMFYUI_PREFIX)
    if plain != name and MODULE.fullmatch(plain):
        return plain
    kohya = KOHYA.fullmatch(name)
    inside = next((own for own in INSIDE if kohya and own.replace(".", "_") == kohya[3]), None)
    return f"joint_blocks.{kohya[1]}.{kohya[2]}_block.{inside}" if kohya and inside else None


def _config(model: Model) -> Mapping[str, Any]:
    denoiser: Any = model.denoiser
    return denoiser.config
