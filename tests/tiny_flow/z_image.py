"""Z-Image in miniature: Qwen3 with its chat template, the transformer, the VAE and the scheduler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3Model

from tests.tiny_flow.kl_vae import kl_vae
from tests.true_vae import VAE

WIDTH = 32
QWEN3_4B = {
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "vocab_size": 151_936,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
HEADER = {"modelspec.architecture": "Z-Image", "modelspec.prediction_type": "flow"}
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build() -> ZImagePipeline:
    """The same weights each time; 32 × 32 pictures are 8 × 8 latents, 4 × 4 patches."""
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    text_encoder = Qwen3Model(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=WIDTH + 5,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
        )
    )
    transformer = ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=WIDTH,
        axes_dims=[4, 6, 6], axes_lens=[1024, 64, 64],
    )  # fmt: skip
    for name in ("x_pad_token", "cap_pad_token"):  # zeros in models made from a configuration
        torch.nn.init.normal_(getattr(transformer, name), std=0.02)
    vae = kl_vae(0.3611, 0.1159)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return ZImagePipeline(scheduler, vae, text_encoder, tokenizer, transformer)


def true_parts() -> dict[str, torch.nn.Module]:
    """In their true sizes."""
    return {
        "transformer": ZImageTransformer2DModel(),
        "vae": AutoencoderKL(**VAE, latent_channels=16),
        "text_encoder": Qwen3Model(Qwen3Config(**QWEN3_4B)),
    }


def write_file(pipeline: Any, path: Path) -> None:
    """Its transformer as one file with the authors' names, as the world trades them."""
    tensors = dict(pipeline.transformer.state_dict())
    for key in [key for key in tensors if key.endswith(".attention.to_q.weight")]:
        block = key.removesuffix(".to_q.weight")
        tensors[f"{block}.qkv.weight"] = torch.cat([tensors.pop(f"{block}.to_{letter}.weight") for letter in "qkv"])
    renamed = {
        "all_x_embedder.2-1.": "x_embedder.",
        "all_final_layer.2-1.": "final_layer.",
        ".to_out.0.": ".out.",
        ".norm_q.": ".q_norm.",
        ".norm_k.": ".k_norm.",
    }
    for ours, theirs in renamed.items():
        tensors = {key.replace(ours, theirs): value for key, value in tensors.items()}
    save_file({f"model.diffusion_model.{key}": value.contiguous() for key, value in tensors.items()}, path, HEADER)


def _tokenizer() -> Qwen2Tokenizer:
    """Every byte is a token."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocab = {piece: index for index, piece in enumerate([*sorted(ByteLevel.alphabet()), *special])}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[], extra_special_tokens=special[1:], model_max_length=512)
    tokenizer.chat_template = CHAT
    return tokenizer
