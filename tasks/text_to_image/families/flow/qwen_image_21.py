"""Qwen-Image 2.1: one stream in which a caption cannot look at the picture, and pictures with transparency.

Attention is causal but for the picture's own tokens, and a caption's tokens compute as at σ = 0. A token is one latent,
of 16 × 16 pixels; the text encoder's picture tokens stand for 2 × 2 of them, so a picture has an even number along each
side. Captions are kept without padding: it would move the picture's place in the sequence. Pictures that are learnt are
opaque, and those that are drawn are laid on white.

Shapes: as in `family`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.text_to_image.families.flow.caption_lengths import listed, padded
from tasks.text_to_image.families.flow.flow_family import FILE_PREFIX, presets_of, require_plain_weights
from tasks.text_to_image.families.flow.lora_names import in_blocks
from tasks.text_to_image.families.flow.packing import PATCH
from tasks.text_to_image.families.flow.qwen_image import QwenImage
from tasks.text_to_image.models.pipeline_folder import read_json
from tasks.text_to_image.models.presets import Size
from tasks.text_to_image.models.weights_header import Tensors, TensorShape

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.text_to_image.families.model import Conditioning, Model
    from tasks.text_to_image.models.lora_file import Module

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("img_mlp.proj", "img_mlp.gate_layer", "img_mlp.out")
OTHERS = (
    *("modulation.1", "img_in", "txt_in.in_layer", "txt_in.out_layer", "norm_out.linear", "proj_out"),
    *("time_text_embed.timestep_embedder.linear_1", "time_text_embed.timestep_embedder.linear_2"),
)
MAX_TOKENS, TEMPLATE_TOKENS = 1024, 8
"""Of a prompt in the template that is not cut off, and of that template. Its pipeline has no limit."""
OF_FILE = {"txt_in.text_norm.weight", "modulation.1.weight"}
FUSED, FUSED_OF = "img_mlp.gate_up", ("img_mlp.gate_layer", "img_mlp.proj")
"""ComfyUI's name of two layers in one matrix, and diffusers' names, in the order of its outputs."""
OWN_LAYER = re.compile(r".*\.transformer_blocks\.\d+\.img_mlp\.(gate_layer|gate_up|proj|out)")
ATTENTION_LAYER = re.compile(r".*\.transformer_blocks\.(\d+)\.attn\.")
WIDTH, BLOCKS_OF_OTHERS = 4096, 8
"""Channels of a token; as many has FLUX.2 klein 9B, with so many blocks of this name."""


class QwenImage21(QwenImage):
    """Qwen-Image 2.1 and Qwen-Image 2.1 Turbo."""

    name, title, base_version = "qwen-image-2.1", "Qwen-Image 2.1", "qwen_image_21"
    header_name = hub_name = r"qwen[-_]?image[-_]?2[._]?1(?!\d)"
    architectures = {"flow": "Qwen-Image-2.1"}
    implementation = "https://github.com/QwenLM/Qwen-Image-2.1"
    pipeline_class = "QwenImage21Pipeline"
    denoiser_class = "QwenImage21Transformer2DModel"
    completed_by = undistilled = "Qwen/Qwen-Image-2.1"
    file_has_own_names = False
    distilled, distilled_steps = re.compile("turbo", re.IGNORECASE), 8
    fixed_layer = "its last layer, before the last normalisation"
    patch = 1
    max_tokens, text_window = MAX_TOKENS, MAX_TOKENS - TEMPLATE_TOKENS
    window_tokenizer = "processor"
    usual = ("logit_normal", 3.0)  # as musubi-tuner's guide for Qwen-Image 2.1
    usual_drawing = (40, "its authors recommend it"), (1.0, "its authors draw without guidance")
    presets = presets_of(ATTENTION, FEED_FORWARD, OTHERS)
    lora_modules = (
        *in_blocks("transformer_blocks", (*(f"attn.{layer}" for layer in ATTENTION), *FEED_FORWARD, FUSED)),
        *OTHERS,
    )
    described = {"num_layers": 32, "num_attention_heads": 32, "attention_head_dim": 128}
    training_bytes, drawing_bytes = {True: (2, 89), False: (62, 22)}, 36
    encoding_bytes, decoding_bytes = 15, 45
    # GB         batch  checkpointing  rank  pictures drawn at once
    sizes = {
        8: Size(1, True, 16, 0, blocks_to_swap=28),
        10: Size(1, True, 16, 0, blocks_to_swap=24),
        12: Size(1, True, 16, 0, blocks_to_swap=20),
        16: Size(1, True, 16, 0, blocks_to_swap=12),
        24: Size(1, True, 16, 1, blocks_to_swap=18, evaluation_blocks_to_swap=32),
        32: Size(1, True, 32, 1, evaluation_blocks_to_swap=28),
        40: Size(1, True, 32, 1, evaluation_blocks_to_swap=16),
        48: Size(2, True, 32, 1),
        80: Size(4, True, 32, 4),
    }

    def is_distilled(self, model: str) -> bool:
        """The folder of a distilled model holds the noise levels that it draws at."""
        index = Path(model) / "model_index.json"
        if index.is_file():
            return bool(read_json(index).get("sample_sigmas"))
        return super().is_distilled(model)

    @property
    def tokenizers(self) -> tuple[str, ...]:
        return ("processor",)

    def needed_at_once(self, folder: Path) -> dict[str, Any]:
        """The pipeline asks its processor for the length of its template."""
        from tasks.text_to_image.families.flow.text_processor import read

        return {"processor": read(folder / "processor")}

    def vae_channels(self, vae: Mapping[str, Any]) -> tuple[int, ...]:
        """Of the decoder, which has more than the encoder."""
        return tuple((vae.get("decoder_base_dim") or vae["base_dim"]) * factor for factor in vae["dim_mult"])

    def size_multiple_of_file(self, tensors: Tensors) -> int | None:
        return 16 * PATCH

    def recognises_file(self, tensors: Tensors, file: Path) -> bool:
        if not {name.removeprefix(FILE_PREFIX) for name in tensors} >= OF_FILE:
            return False
        require_plain_weights(tensors, file)
        return True

    def tensors_of_file(self, tensors: Tensors) -> dict[str, Tensors]:
        """Under diffusers' names: ComfyUI's files have two layers in one matrix."""
        found: Tensors = {}
        for name, tensor in super().tensors_of_file(tensors)[self.denoiser].items():
            if FUSED in name:
                half = TensorShape((tensor.shape[0] // 2, *tensor.shape[1:]), tensor.dtype)
                found |= {name.replace(FUSED, own): half for own in FUSED_OF}
            else:
                found[name] = tensor
        return {self.denoiser: found}

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        """By its feed-forward, or by attention of its width in more blocks than others of that width have."""
        return any(map(OWN_LAYER.match, modules)) or any(
            module.shape[1] == WIDTH and (match := ATTENTION_LAYER.match(name)) and int(match[1]) >= BLOCKS_OF_OTHERS
            for name, module in modules.items()
        )

    def own_names(self, module: str) -> list[str]:
        """Two of ComfyUI's two layers in one matrix, which ai-toolkit and musubi-tuner train."""
        return [module.replace(FUSED, layer) for layer in FUSED_OF] if module.endswith(FUSED) else [module]

    def exclude_modules(self, denoiser: Mapping[str, Any]) -> None:
        """Every layer computes the picture's tokens too."""

    def posterior(self, vae: Any, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Of opaque pictures: the VAE's fourth channel is how opaque a pixel is."""
        import torch

        return super().posterior(vae, torch.cat((pixels_BCHW, torch.ones_like(pixels_BCHW[:, :1])), dim=1))

    def encode_captions(self, model: Model, captions: list[str]) -> Conditioning:
        pipeline = model.pipeline
        states_BLD, used_BL, _ = pipeline.encode_prompt(captions, device=pipeline.text_encoder.device)
        whole = [states_BLD.shape[1]] * len(captions)
        lengths = whole if used_BL is None else used_BL.sum(dim=1).tolist()
        pairs = zip(states_BLD, lengths, strict=True)
        return padded([states_LD[: min(length, MAX_TOKENS)] for states_LD, length in pairs])

    def predict(
        self, model: Model, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning
    ) -> Tensor:
        """Captions of one length are computed at a time: padding would stand between a caption and its picture."""
        import torch

        texts = listed(conditioning)
        predicted: dict[int, Tensor] = {}
        for length in dict.fromkeys(map(len, texts)):
            chosen = [number for number, text in enumerate(texts) if len(text) == length]
            states_BLD = torch.stack([texts[number] for number in chosen])
            alike_BCHW = _predict(model, noisy_latents_BCHW[chosen], timesteps_B[chosen], states_BLD)
            predicted |= zip(chosen, alike_BCHW, strict=True)
        return torch.stack([predicted[number] for number in range(len(texts))])


def _predict(model: Model, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, states_BLD: Tensor) -> Tensor:
    """With captions of one length."""
    import torch

    batch, channels, height, width = noisy_latents_BCHW.shape
    is_picture_L = torch.arange(states_BLD.shape[1] + height * width // PATCH**2) >= states_BLD.shape[1]
    predicted_BLD = model.denoiser(
        hidden_states=noisy_latents_BCHW.flatten(2).transpose(1, 2),
        timestep=timesteps_B,
        encoder_hidden_states=states_BLD,
        img_shapes=[[(1, height, width)]] * batch,
        img_mask=is_picture_L.expand(batch, -1).to(states_BLD.device),
        return_dict=False,
    )[0]
    return predicted_BLD[:, -height * width :].transpose(1, 2).reshape(batch, channels, height, width)
