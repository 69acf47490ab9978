"""Krea 2: a transformer of one stream that reads twelve layers of Qwen3-VL, fused token by token by blocks of its own.

Padding is masked wherever it is read, so captions are kept without it. The VAE is Qwen-Image's.

Shapes: as in `family`; L tokens, of which each has the states of twelve layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.text_to_image.families.flow.authors_names import renamed
from tasks.text_to_image.families.flow.caption_lengths import collate, mask, padded
from tasks.text_to_image.families.flow.flow_family import FILE_PREFIX, presets_of, require_plain_weights
from tasks.text_to_image.families.flow.lora_names import in_blocks
from tasks.text_to_image.families.flow.packing import PATCH, pack, unpack
from tasks.text_to_image.families.flow.video_vae import VideoVaeFamily
from tasks.text_to_image.models.presets import Size
from tasks.text_to_image.models.weights_header import Tensors

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.text_to_image.families.model import Conditioning, Model
    from tasks.text_to_image.models.lora_file import Module
    from tasks.text_to_image.models.memory import ModelShapes

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "to_gate")
FEED_FORWARD = ("ff.gate", "ff.up", "ff.down")
OTHERS = (
    *("img_in", "time_embed.linear_1", "time_embed.linear_2", "time_mod_proj"),
    *("txt_in.linear_1", "txt_in.linear_2", "text_fusion.projector", "final_layer.linear"),
)
AUTHORS_LAYERS = (*(f"attn.{layer}" for layer in ("wq", "wk", "wv", "wo", "gate")), "mlp.gate", "mlp.up", "mlp.down")
OWN_LAYERS = (*(f"attn.{layer}" for layer in ATTENTION), *FEED_FORWARD)
AUTHORS_OTHERS = (
    *("first", "last.linear", "tmlp.0", "tmlp.2", "tproj.1", "txtmlp.1", "txtmlp.3"),
    "txtfusion.projector",
)
FUSION_STACKS = ("layerwise_blocks", "refiner_blocks")
MAX_TOKENS, TEMPLATE_TOKENS = 512, 5
"""Of a prompt, and of what follows it in the chat template; what precedes it is cut off."""
FUSION_BYTES = 560
"""What fusing the layers of a caption adds to `training_bytes`, per token of the caption and channel: nothing of it is
checkpointed."""
FUSED_LAYERS = "txtfusion.projector.weight"
FILE_NAMES = (
    (r"^first\.", "img_in."),
    (r"^tmlp\.0\.", "time_embed.linear_1."),
    (r"^tmlp\.2\.", "time_embed.linear_2."),
    (r"^tproj\.1\.", "time_mod_proj."),
    (r"^txtmlp\.1\.", "txt_in.linear_1."),
    (r"^txtmlp\.3\.", "txt_in.linear_2."),
    (r"^txtfusion\.", "text_fusion."),
    (r"^blocks\.", "transformer_blocks."),
    (r"^last\.linear\.", "final_layer.linear."),
    (r"\.attn\.w([qkv])\.", r".attn.to_\1."),
    (r"\.attn\.wo\.", ".attn.to_out.0."),
    (r"\.attn\.gate\.", ".attn.to_gate."),
    (r"\.mlp\.", ".ff."),
)
"""The authors' names of modules with matrices in single files, and diffusers'."""


class Krea2(VideoVaeFamily):
    """Krea 2 Raw and Krea 2 Turbo."""

    name, title = "krea2", "Krea 2"
    pipeline_class = "Krea2Pipeline"
    denoiser_class = "Krea2Transformer2DModel"
    completed_by = undistilled = "krea/Krea-2-Raw"
    distilled, distilled_steps = re.compile("turbo", re.IGNORECASE), 8
    architectures, base_version = {"flow": "Krea-2"}, "krea2"
    implementation = "https://github.com/krea-ai/krea-2"
    header_name = hub_name = r"krea[-_ ]?2"
    fixed_layer = "twelve of its layers"
    max_tokens, text_window = MAX_TOKENS, MAX_TOKENS - TEMPLATE_TOKENS
    usual = ("logit_normal", "resolution")  # musubi-tuner's krea2_shift: as the model is drawn, at every size
    usual_drawing = (28, "its authors' own number"), (5.5, "its authors' own value: 4.5 counted from 0, 5.5 here")
    presets = presets_of(ATTENTION, FEED_FORWARD, OTHERS)
    lora_modules = (
        *in_blocks("blocks", AUTHORS_LAYERS),
        *(name for stack in FUSION_STACKS for name in in_blocks(f"txtfusion.{stack}", AUTHORS_LAYERS)),
        *AUTHORS_OTHERS,
        *in_blocks("transformer_blocks", OWN_LAYERS),
        *(name for stack in FUSION_STACKS for name in in_blocks(f"text_fusion.{stack}", OWN_LAYERS)),
        *OTHERS,
    )
    described = {"num_layers": 28, "num_attention_heads": 48, "attention_head_dim": 128}
    training_bytes, drawing_bytes = {True: (2, 68), False: (49, 24)}, 26
    # GB         batch  checkpointing  rank  pictures drawn at once
    sizes = {
        8: Size(1, True, 16, 0, "fp8", resolution=768, blocks_to_swap=28),
        12: Size(1, True, 16, 0, blocks_to_swap=28),
        16: Size(1, True, 16, 0, blocks_to_swap=24),
        24: Size(1, True, 16, 1, blocks_to_swap=24, evaluation_blocks_to_swap=28),
        32: Size(1, True, 32, 1, blocks_to_swap=16, evaluation_blocks_to_swap=28),
        40: Size(1, True, 32, 1, blocks_to_swap=8, evaluation_blocks_to_swap=28),
        48: Size(1, True, 32, 1, evaluation_blocks_to_swap=24),
        80: Size(2, True, 32, 1),
    }
    on_cpu = Size(1, True, 8, 1, resolution=512)

    def recognises_file(self, tensors: Tensors, file: Path) -> bool:
        if FUSED_LAYERS not in {name.removeprefix(FILE_PREFIX) for name in tensors}:
            return False
        require_plain_weights(tensors, file)
        return True

    def tensors_of_file(self, tensors: Tensors) -> dict[str, Tensors]:
        """Under diffusers' names."""
        own = {renamed(name.removeprefix(FILE_PREFIX), FILE_NAMES): tensor for name, tensor in tensors.items()}
        return {self.denoiser: own}

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        """By layers that only Krea 2 has; queries, keys and values alone could be of several families."""
        return any(name.endswith((".attn.to_gate", ".ff.gate")) for name in modules)

    def own_names(self, module: str) -> list[str]:
        return [renamed(f"{module}.", FILE_NAMES).removesuffix(".")]

    def activation_bytes(
        self, model: ModelShapes, batch: int, resolution: int, *, half: bool, checkpointing: bool
    ) -> float:
        fusion = batch * MAX_TOKENS * self.width(model.denoiser) * FUSION_BYTES * (1 if half else 2)
        return fusion + super().activation_bytes(model, batch, resolution, half=half, checkpointing=checkpointing)

    def encode_captions(self, model: Model, captions: list[str]) -> Conditioning:
        """`hidden_states` (B, L, 12, D), padded with zeros, and `lengths` (B,)."""
        pipeline = model.pipeline
        states_BLND, used_BL = pipeline.encode_prompt(prompt=captions, device=pipeline.text_encoder.device)
        return padded([states_LND[used_L] for states_LND, used_L in zip(states_BLND, used_BL, strict=True)])

    def collate(self, texts: Sequence[Conditioning]) -> Conditioning:
        return collate(texts)

    def predict(
        self, model: Model, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning
    ) -> Tensor:
        height, width = noisy_latents_BCHW.shape[-2:]
        states_BLND = conditioning["hidden_states"]
        predicted_BLD = model.denoiser(
            hidden_states=pack(noisy_latents_BCHW),
            encoder_hidden_states=states_BLND,
            timestep=timesteps_B,
            position_ids=model.pipeline.prepare_position_ids(
                states_BLND.shape[1], height // PATCH, width // PATCH, noisy_latents_BCHW.device
            ),
            encoder_attention_mask=mask(conditioning),
            return_dict=False,
        )[0]
        return unpack(predicted_BLD, height, width)

    def prompt_arguments(self, model: Model, prompts: list[str], negative_prompts: list[str]) -> dict[str, Any]:
        """Both as long as the longest: the pipeline has one list of places for them."""
        both = model.encode_captions([*prompts, *negative_prompts])
        states, used = both["hidden_states"].to(model.device), mask(both).to(model.device)
        count = len(prompts)
        return {
            "prompt_embeds": states[:count],
            "prompt_embeds_mask": used[:count],
            "negative_prompt_embeds": states[count:],
            "negative_prompt_embeds_mask": used[count:],
        }

    def guidance_arguments(self, scale: float) -> dict[str, Any]:
        """Its pipeline counts from 0: 0 is no guidance."""
        return {"guidance_scale": scale - 1}
