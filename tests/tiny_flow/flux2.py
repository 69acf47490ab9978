"""FLUX.2 in miniature: klein, whose text encoder is Qwen3, and dev, whose text encoder is Mistral 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import (
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    MistralConfig,
    PixtralVisionConfig,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.tiny_flow.z_image import QWEN3_4B

QWEN3_8B = {**QWEN3_4B, "hidden_size": 4096, "intermediate_size": 12_288}
MISTRAL_24B: dict[str, Any] = {
    "hidden_size": 5120,
    "intermediate_size": 32_768,
    "num_hidden_layers": 40,
    "vocab_size": 131_072,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
WIDTH = 16
"""Of the text encoder; the transformer reads three of its layers."""
TEXT: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": WIDTH + 5,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}
QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    "{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)
MISTRAL_CHAT = (
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}]"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}[/{{ message['role'] }}]{% endfor %}"
)


def klein(*, is_distilled: bool = False) -> Flux2KleinPipeline:
    """The same weights each time; 32 × 32 pictures are 8 × 8 latents, 4 × 4 patches."""
    torch.manual_seed(0)
    tokenizer = _qwen_tokenizer()
    text_encoder = Qwen3ForCausalLM(Qwen3Config(vocab_size=len(tokenizer), num_hidden_layers=27, **TEXT))
    return Flux2KleinPipeline(
        _scheduler(), _vae(), text_encoder, tokenizer, _transformer(guidance=False), is_distilled=is_distilled
    )


def dev() -> Flux2Pipeline:
    """With guidance as an input of the transformer; its tokenizer without the processor that needs torchvision."""
    torch.manual_seed(0)
    tokenizer: Any = _mistral_tokenizer()
    text = MistralConfig(vocab_size=len(tokenizer), num_hidden_layers=30, **TEXT)
    vision = PixtralVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=16, patch_size=8
    )
    text_encoder = Mistral3ForConditionalGeneration(Mistral3Config(text_config=text, vision_config=vision))
    return Flux2Pipeline(_scheduler(), _vae(), text_encoder, tokenizer, _transformer(guidance=True))


def true_klein_4b() -> dict[str, torch.nn.Module]:
    """In their true sizes."""
    return _true_klein(
        {**QWEN3_4B, "tie_word_embeddings": True}, num_layers=5, num_single_layers=20, num_attention_heads=24
    )


def true_klein_9b() -> dict[str, torch.nn.Module]:
    """In their true sizes."""
    return _true_klein(QWEN3_8B, num_layers=8, num_single_layers=24, num_attention_heads=32)


def true_dev() -> dict[str, torch.nn.Module]:
    """In their true sizes. Mistral's half for pictures has 24 layers."""
    text_encoder = Mistral3ForConditionalGeneration(
        Mistral3Config(text_config=MistralConfig(**MISTRAL_24B), vision_config=PixtralVisionConfig())
    )
    return {"transformer": Flux2Transformer2DModel(), "vae": AutoencoderKLFlux2(), "text_encoder": text_encoder}


def _true_klein(text: dict[str, Any], **sizes: Any) -> dict[str, torch.nn.Module]:
    transformer = Flux2Transformer2DModel(joint_attention_dim=3 * text["hidden_size"], guidance_embeds=False, **sizes)
    return {
        "transformer": transformer,
        "vae": AutoencoderKLFlux2(),
        "text_encoder": Qwen3ForCausalLM(Qwen3Config(**text)),
    }


def write_file(pipeline: Any, path: Path) -> None:
    """Its transformer as one file with the authors' names, as the world trades them."""
    tensors = dict(pipeline.transformer.state_dict())
    for number in range(pipeline.transformer.config.num_layers):
        for stream, names in (("img", ("to_q", "to_k", "to_v")), ("txt", ("add_q_proj", "add_k_proj", "add_v_proj"))):
            parts = [tensors.pop(f"transformer_blocks.{number}.attn.{name}.weight") for name in names]
            tensors[f"double_blocks.{number}.{stream}_attn.qkv.weight"] = torch.cat(parts)
    scale, shift = tensors.pop("norm_out.linear.weight").chunk(2)
    tensors["final_layer.adaLN_modulation.1.weight"] = torch.cat([shift, scale])
    for name in [name for name in tensors if name.endswith((".norm_q.weight", ".norm_k.weight"))]:
        block, _, norm = name.removesuffix(".weight").rpartition(".attn.norm_")
        attention = "norm" if block.startswith("single") else "img_attn.norm"
        tensors[f"{block}.{attention}.{NORMS[norm]}.scale"] = tensors.pop(name)
    for ours, theirs in FILE_NAMES.items():
        tensors = {key.replace(ours, theirs): value for key, value in tensors.items()}
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)


FILE_NAMES = {
    "time_guidance_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_guidance_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_guidance_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_guidance_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "modulation_img.linear": "modulation_img.lin",
    "modulation_txt.linear": "modulation_txt.lin",
    "stream_modulation.linear": "stream_modulation.lin",
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "proj_out": "final_layer.linear",
    "single_transformer_blocks": "single_blocks",
    "transformer_blocks": "double_blocks",
    "attn.to_qkv_mlp_proj": "linear1",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_out": "linear2",
    "attn.to_add_out": "txt_attn.proj",
    "attn.norm_added_q.weight": "txt_attn.norm.query_norm.scale",
    "attn.norm_added_k.weight": "txt_attn.norm.key_norm.scale",
    "ff.linear_in": "img_mlp.0",
    "ff.linear_out": "img_mlp.2",
    "ff_context.linear_in": "txt_mlp.0",
    "ff_context.linear_out": "txt_mlp.2",
}
"""Part of diffusers' names → of the authors'; norms of a picture's queries and keys apart."""
NORMS = {"q": "query_norm", "k": "key_norm"}


def _transformer(*, guidance: bool) -> Flux2Transformer2DModel:
    return Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * WIDTH,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance,
    )


def _vae() -> AutoencoderKLFlux2:
    """With statistics of latents that are not those of white noise."""
    vae = AutoencoderKLFlux2(
        block_out_channels=(16, 16, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=32,
    )
    statistics: Any = vae.bn
    torch.nn.init.normal_(statistics.running_mean, std=0.5)
    torch.nn.init.uniform_(statistics.running_var, 0.5, 2.0)
    return vae


def _scheduler() -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)


def _qwen_tokenizer() -> Qwen2Tokenizer:
    """Every byte is a token."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    vocab = {piece: index for index, piece in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), *special])}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[], extra_special_tokens=special[1:], model_max_length=512)
    tokenizer.chat_template = QWEN_CHAT
    return tokenizer


def _mistral_tokenizer() -> PreTrainedTokenizerFast:
    """Every byte is a token."""
    special = ["<pad>", "<s>", "</s>"]
    vocab = {piece: index for index, piece in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    pieces = Tokenizer(BPE(vocab=vocab, merges=[]))
    pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pieces, pad_token="<pad>", bos_token="<s>", eos_token="</s>", model_max_length=512
    )
    tokenizer.chat_template = MISTRAL_CHAT
    return tokenizer
