"""FLUX.1: a transformer of two streams, then one, on latents packed into tokens; CLIP's pooled text and T5's states.

dev is distilled to take the guidance scale as an input; schnell is distilled to draw in 4 steps and takes none. Apart
from that they are the same, so that each takes the LoRAs of the other.

Shapes: as in `family`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.data import buckets
from tasks.text_to_image.families import source_latents
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.families.flow import flux1_names
from tasks.text_to_image.families.flow.flow_family import (
    FILE_PREFIX,
    FlowFamily,
    presets_of,
    require_plain_weights,
)
from tasks.text_to_image.families.flow.lora_names import in_blocks
from tasks.text_to_image.families.flow.packing import PATCH, pack, unpack
from tasks.text_to_image.models.presets import Size
from tasks.text_to_image.models.weights_header import Tensors, TensorShape

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from tasks.text_to_image.families.model import Conditioning, Model
    from tasks.text_to_image.models.lora_file import Module

ATTENTION = (
    *("to_q", "to_k", "to_v", "to_out.0"),
    *("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
)
FEED_FORWARD = (
    *("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2"),
    *("proj_mlp", "proj_out"),
)
MODULATION = ("norm1.linear", "norm1_context.linear", "norm.linear")
OUTSIDE = (
    *("x_embedder", "context_embedder", "norm_out.linear", "proj_out"),
    *(
        f"time_text_embed.{part}_embedder.linear_{number}"
        for part in ("timestep", "text", "guidance")
        for number in (1, 2)
    ),
)
DOUBLE_BLOCKS_OF_FLUX2, WIDENING = 8, 5
"""The most of any size; inputs of a single block's last layer per channel."""
SINGLE_BLOCK = re.compile(r"single_transformer_blocks\.\d+\.(attn\.to_[qkv]|proj_mlp|proj_out|norm\.linear)$")
QKV, MODULATION_OF_FILE, GUIDANCE_OF_FILE = (
    "double_blocks.0.img_attn.qkv.weight",
    "single_blocks.0.modulation.lin.weight",
    "guidance_in.in_layer.weight",
)
"""The authors' names in single files; FLUX.2 has one modulation for all blocks."""


class Flux1Dev(FlowFamily):
    """FLUX.1 dev, and models made from it."""

    name, title = "flux1-dev", "FLUX.1 dev"
    pipeline_class = "FluxPipeline"
    denoiser_class = "FluxTransformer2DModel"
    text_encoders = ("text_encoder", "text_encoder_2")
    completed_by = "black-forest-labs/FLUX.1-dev"
    architectures, base_version = {"flow": "flux-1-dev"}, "flux1"
    implementation = "https://github.com/black-forest-labs/flux"
    header_name, hub_name = r"flux[-_.]?1(?![-_.]?schnell)", r"flux[-_.]?1(?!.*kontext)"
    fixed_layer = "their last layers"
    max_tokens, text_window = 512, 511
    window_tokenizer = "tokenizer_2"
    embeds_guidance, uses_negative_prompts = True, False
    usual = ("logit_normal", "resolution")  # kohya's recommendation for FLUX.1, `flux_shift`
    usual_drawing = (28, "diffusers' number; its authors use 50"), (3.5, "its authors' value")
    presets = presets_of(ATTENTION, FEED_FORWARD, MODULATION)
    lora_modules = (
        *in_blocks("transformer_blocks", (f"attn.{layer}" for layer in ATTENTION)),
        *in_blocks("transformer_blocks", (*FEED_FORWARD[:4], *MODULATION[:2])),
        *in_blocks(
            "single_transformer_blocks", ("attn.to_q", "attn.to_k", "attn.to_v", *FEED_FORWARD[4:], MODULATION[2])
        ),
        *OUTSIDE,
    )
    described = {"num_layers": 19, "num_single_layers": 38, "num_attention_heads": 24, "attention_head_dim": 128}
    training_bytes, drawing_bytes = {True: (2, 2, 63), False: (41, 35, 27)}, 35
    # GB         batch  checkpointing  rank  pictures drawn at once
    sizes = {
        8: Size(1, True, 16, 0, blocks_to_swap=54),
        10: Size(1, True, 16, 0, blocks_to_swap=50),
        12: Size(1, True, 16, 0, blocks_to_swap=44),
        16: Size(1, True, 16, 1, blocks_to_swap=52, evaluation_blocks_to_swap=54),
        24: Size(1, True, 16, 1, blocks_to_swap=34, evaluation_blocks_to_swap=54),
        32: Size(1, True, 32, 1, blocks_to_swap=16, evaluation_blocks_to_swap=54),
        40: Size(1, True, 32, 1, evaluation_blocks_to_swap=54),
        48: Size(1, True, 32, 1, evaluation_blocks_to_swap=28),
        80: Size(4, True, 32, 4),
    }
    on_cpu = Size(1, True, 8, 1, resolution=512)

    def is_described_by(self, denoiser: Mapping[str, Any]) -> bool:
        return bool(denoiser.get("guidance_embeds")) == self.embeds_guidance

    def recognises_file(self, tensors: Tensors, file: Path) -> bool:
        names = {name.removeprefix(FILE_PREFIX) for name in tensors}
        if not {QKV, MODULATION_OF_FILE} <= names or (GUIDANCE_OF_FILE in names) != self.embeds_guidance:
            return False
        require_plain_weights(tensors, file)
        return True

    def tensors_of_file(self, tensors: Tensors) -> dict[str, Tensors]:
        """Under diffusers' names, in which some of the authors' matrices are several."""
        found: Tensors = {}
        for name, tensor in tensors.items():
            module, _, leaf = name.removeprefix(FILE_PREFIX).rpartition(".")
            for piece in flux1_names.pieces(module):
                outputs = tensor.shape[0] * (piece.last - piece.first) // piece.whole
                own = "weight" if leaf == "scale" else leaf
                found[f"{piece.name}.{own}"] = TensorShape((outputs, *tensor.shape[1:]), tensor.dtype)
        return {self.denoiser: found}

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        """By its single blocks; those of other families have other layers."""
        return any(SINGLE_BLOCK.match(name.removeprefix(f"{self.denoiser}.")) for name in modules)

    def own_modules(self, modules: Mapping[str, Module]) -> dict[str, Module] | None:
        """Of files with the authors' names too, such as kohya's: one update of them can be several modules' here."""
        authors = {name: flux1_names.in_lora(name) for name in modules}
        if not _are_of_flux1({own: modules[name] for name, own in authors.items() if own}):
            return super().own_modules(modules)
        found: dict[str, Module] = {}
        for name, module in modules.items():
            own = authors[name]
            if own is None:
                found[name] = module
            for piece in flux1_names.pieces(own) if own else ():
                share = (piece.first, piece.last, piece.whole)
                found[f"{self.denoiser}.{piece.name}"] = replace(module, part=self.denoiser, share=share)
        return found

    def takes_loras_of(self, other: Family) -> bool:
        return isinstance(other, Flux1Dev)

    def exclude_modules(self, denoiser: Mapping[str, Any]) -> str:
        """The last layer, whose name is also that of a layer in every single block."""
        return "proj_out"

    def blocks(self, denoiser: Mapping[str, Any]) -> tuple[int, ...]:
        return denoiser["num_layers"], denoiser["num_single_layers"]

    def encode_captions(self, model: Model, captions: list[str]) -> Conditioning:
        """`pooled_projections` (B, D) of CLIP; `encoder_hidden_states` (B, L, D) of T5, read with its padding."""
        pipeline = model.pipeline

        def ids(tokenizer: Any, length: int, encoder: Any) -> Tensor:
            tokens = tokenizer(captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
            return tokens.input_ids.to(encoder.device)

        clip, t5 = pipeline.text_encoder, pipeline.text_encoder_2
        pooled_BD = clip(ids(pipeline.tokenizer, pipeline.tokenizer_max_length, clip)).pooler_output
        states_BLD = t5(ids(pipeline.tokenizer_2, self.max_tokens, t5))[0]
        return {"pooled_projections": pooled_BD.to(clip.dtype), "encoder_hidden_states": states_BLD.to(t5.dtype)}

    def predict(
        self, model: Model, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning
    ) -> Tensor:
        import torch

        height, width = noisy_latents_BCHW.shape[-2:]
        seen = [noisy_latents_BCHW, *source_latents.of(conditioning)]
        places = [_positions(index, *(side // PATCH for side in each.shape[-2:])) for index, each in enumerate(seen)]
        states_BLD = conditioning["encoder_hidden_states"]
        guidance_B = torch.full_like(timesteps_B, model.guidance) if self.embeds_guidance else None
        tokens_BLD = model.denoiser(
            hidden_states=torch.cat([pack(each) for each in seen], dim=1),
            timestep=timesteps_B,
            guidance=guidance_B,
            pooled_projections=conditioning["pooled_projections"],
            encoder_hidden_states=states_BLD,
            txt_ids=states_BLD.new_zeros(states_BLD.shape[1], 3),
            img_ids=torch.cat(places).to(states_BLD),
            return_dict=False,
        )[0]
        return unpack(tokens_BLD[:, : len(places[0])], height, width)

    def prompt_arguments(self, model: Model, prompts: list[str], negative_prompts: list[str]) -> dict[str, Any]:
        """Negative prompts are not used: guidance is an input of the model, not a difference of two predictions."""
        encoded = model.encode_captions(prompts)
        return {
            "prompt_embeds": encoded["encoder_hidden_states"].to(model.device),
            "pooled_prompt_embeds": encoded["pooled_projections"].to(model.device),
        }


class Flux1Kontext(Flux1Dev):
    """FLUX.1 Kontext dev, and models made from it: dev, tuned to edit a source, whose tokens follow the picture's."""

    name, title = "flux1-kontext", "FLUX.1 Kontext"
    pipeline_class = "FluxKontextPipeline"
    completed_by = "black-forest-labs/FLUX.1-Kontext-dev"
    base_version = "flux_kontext"  # musubi-tuner's
    header_name, hub_name = r"flux[-_.]?(1[-_.])?kontext", r"flux.*kontext"
    most_sources, needs_sources = 1, True
    usual_drawing = (28, "diffusers' number"), (2.5, "its authors' value")
    # GB         batch  checkpointing  rank  pictures drawn at once
    sizes = {
        8: Size(1, True, 16, 0, resolution=768, blocks_to_swap=54),
        10: Size(1, True, 16, 0, blocks_to_swap=54),
        12: Size(1, True, 16, 0, blocks_to_swap=48),
        16: Size(1, True, 16, 0, blocks_to_swap=42),
        24: Size(1, True, 16, 1, blocks_to_swap=38, evaluation_blocks_to_swap=54),
        32: Size(1, True, 32, 1, blocks_to_swap=22, evaluation_blocks_to_swap=54),
        40: Size(1, True, 32, 1, evaluation_blocks_to_swap=54),
        48: Size(1, True, 32, 1, evaluation_blocks_to_swap=32),
        80: Size(2, True, 32, 4),
    }

    def recognises_file(self, tensors: Tensors, file: Path) -> bool:
        """By the file's name: its layers are dev's."""
        return bool(re.search(self.hub_name, file.name.lower())) and super().recognises_file(tensors, file)

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        """Its modules are dev's, and so it is told by the header."""
        return False

    def source_arguments(self, sources: Sequence[Image.Image], size: buckets.Size) -> dict[str, Any]:
        """The pipeline would bring pictures to a million pixels, and sources to sizes of its own."""
        area = {"max_area": size[0] * size[1]}
        return {**area, "image": sources[0], "_auto_resize": False} if sources else area


class Flux1Schnell(Flux1Dev):
    """FLUX.1 schnell, and models made from it."""

    name, title = "flux1-schnell", "FLUX.1 schnell"
    completed_by = "black-forest-labs/FLUX.1-schnell"
    architectures = {"flow": "flux-1-schnell"}
    header_name, hub_name = r"flux[-_.]?1[-_.]?schnell", r"flux.*schnell"
    max_tokens, text_window = 256, 255  # its authors' length
    embeds_guidance = False
    undistilled, distilled_steps = "black-forest-labs/FLUX.1-dev", 4

    def is_distilled(self, model: str) -> bool:
        return True

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        """Its modules are dev's, and so it is told by the header."""
        return False


def _are_of_flux1(modules: Mapping[str, Module]) -> bool:
    """By what FLUX.2 has otherwise: double blocks, modulation, feed-forward. modules: by authors' names."""
    for name, module in modules.items():
        if name.endswith((".modulation.lin", "_mod.lin")):
            return True
        if name.startswith("double_blocks.") and int(name.split(".")[1]) >= DOUBLE_BLOCKS_OF_FLUX2:
            return True
        beside = modules.get(name.replace(".linear2", ".linear1"))
        if name.endswith(".linear2") and beside and module.shape[1] == WIDENING * beside.shape[1]:
            return True
    return False


def _positions(index: int, height: int, width: int) -> Tensor:
    """Number of the picture, row and column of each token. (height · width, 3)."""
    import torch

    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((torch.full_like(rows, index), rows, columns), dim=-1).flatten(0, 1)
