"""Qwen-Image 2.1 in miniature: Qwen3-VL with its processor, the transformer, the VAE and the scheduler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage21,
    FlowMatchEulerDiscreteScheduler,
    QwenImage21Pipeline,
    QwenImage21Transformer2DModel,
)
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import LlavaProcessor, Qwen2Tokenizer, Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.tiny_flow.flux2 import QWEN3_8B

WIDTH = 32
VISION_8B = {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_heads": 16,
    "out_hidden_size": 4096,
    "deepstack_visual_indexes": [8, 16, 24],
}
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}<|im_end|>\n{% endfor %}"
)


def build() -> QwenImage21Pipeline:
    """The same weights each time; 32 × 32 pictures are 2 × 2 latents, each a token."""
    torch.manual_seed(0)
    processor: Any = _processor()
    text = {
        "vocab_size": len(processor.tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH + 5,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 2048,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]},
    }
    vision = {"hidden_size": 8, "intermediate_size": 8, "depth": 1, "num_heads": 1, "out_hidden_size": WIDTH}
    encoder = Qwen3VLConfig(text_config=text, vision_config={**vision, "deepstack_visual_indexes": [0]})
    text_encoder = Qwen3VLForConditionalGeneration(encoder)
    torch.nn.init.normal_(text_encoder.model.language_model.norm.weight, mean=1.0)  # ones, and the pipeline skips it
    transformer = QwenImage21Transformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        context_in_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
    )
    torch.nn.init.normal_(transformer.txt_in.text_norm.weight, std=0.5)  # zeros in models made from a configuration
    vae = AutoencoderKLQwenImage21(
        base_dim=8,
        decoder_base_dim=12,
        z_dim=4,
        dim_mult=[1, 1, 2, 2, 2],
        num_res_blocks=1,
        latents_mean=[0.1, -0.2, 0.3, 0.4],
        latents_std=[1.5, 2.0, 1.2, 0.8],
    )
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
    )
    return QwenImage21Pipeline(scheduler, vae, text_encoder, processor, transformer)


def true_parts() -> dict[str, torch.nn.Module]:
    """In their true sizes."""
    encoder = Qwen3VLConfig(text_config=QWEN3_8B, vision_config=VISION_8B, tie_word_embeddings=False)
    return {
        "transformer": QwenImage21Transformer2DModel(),
        "vae": AutoencoderKLQwenImage21(),
        "text_encoder": Qwen3VLForConditionalGeneration(encoder),
    }


def write_file(pipeline: Any, path: Path, prefix: str = "") -> None:
    """Its transformer as one file for ComfyUI, which computes the gate and what it gates in one matrix."""
    tensors = dict(pipeline.transformer.state_dict())
    for number in range(pipeline.transformer.config.num_layers):
        mlp = f"transformer_blocks.{number}.img_mlp"
        halves = [tensors.pop(f"{mlp}.{layer}.weight") for layer in ("gate_layer", "proj")]
        tensors[f"{mlp}.gate_up.weight"] = torch.cat(halves)
    save_file({prefix + name: value.contiguous() for name, value in tensors.items()}, path)


def _processor() -> LlavaProcessor:
    """Every byte is a token. The true one needs torchvision; of this, too, only the tokenizer and the chat are used."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image_pad|>"]
    vocab = {piece: index for index, piece in enumerate([*sorted(ByteLevel.alphabet()), *special])}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[], extra_special_tokens=special[1:], model_max_length=2048)
    return LlavaProcessor(
        CLIPImageProcessorPil(),
        tokenizer,
        patch_size=4,
        vision_feature_select_strategy="default",
        chat_template=CHAT,
        image_token=special[-1],
    )
