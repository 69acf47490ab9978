"""Qwen-Image in miniature: Qwen2.5-VL with its tokenizer, the transformer, the VAE of videos and the scheduler."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageEditPipeline,
    QwenImageEditPlusPipeline,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from safetensors.torch import save_file
from tokenizers import AddedToken
from tokenizers.pre_tokenizers import ByteLevel
from transformers import BatchFeature, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

WIDTH = 32
TEMPLATE = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n"
)
"""The pipeline cuts off its 34 tokens, whatever they are."""
QWEN25_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152_064,
}
VISION_7B = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584}


EDIT_TEMPLATE = (
    "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, texture, objects, "
    "background), then explain how the user's text instruction should alter or modify the image. Generate a new image "
    "that meets the user's requirements while maintaining consistency with the original input where appropriate."
    "<|im_end|>\n<|im_start|>user\n"
)
"""Likewise of the pipeline that edits, which cuts off 64: four of these tokens are left."""
PICTURES = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")


def edit() -> QwenImageEditPipeline:
    """The pipeline that edits. Its VAE has sixteen pixels a latent, because sources have a million. Without the
    processor, which needs torchvision: `Processor` stands in for it.
    """
    parts = _parts(_tokenizer(EDIT_TEMPLATE, PICTURES), temperal_downsample=[False, True, True, True])
    return QwenImageEditPipeline(**parts, processor=None)  # pyright: ignore[reportArgumentType]


def edit_plus() -> QwenImageEditPlusPipeline:
    """The later one, which takes several sources."""
    parts = _parts(_tokenizer(EDIT_TEMPLATE, PICTURES), temperal_downsample=[False, True, True, True])
    return QwenImageEditPlusPipeline(**parts, processor=None)  # pyright: ignore[reportArgumentType]


class Processor:
    """What `Qwen2VLProcessor` does with pictures, of the parts of it that need no torchvision."""

    def __init__(self, pictures: Any, tokenizer: Any) -> None:
        self.pictures, self.tokenizer = pictures, tokenizer

    def __call__(self, text: list[str], images: Any, padding: bool, return_tensors: str) -> BatchFeature:
        """Every picture has its own number of tokens; all texts are about the same pictures if there are some."""
        seen = self.pictures(images=images, return_tensors=return_tensors)
        counts = (seen["image_grid_thw"].prod(dim=1) // self.pictures.merge_size**2).tolist()
        read: list[str] = []
        for one in text:
            first, *more = one.split("<|image_pad|>")
            read.append(first + "".join("<|image_pad|>" * n + part for n, part in zip(counts, more, strict=True)))
        return BatchFeature({**self.tokenizer(read, padding=padding, return_tensors=return_tensors), **seen})


def picture_processor() -> Qwen2VLImageProcessorPil:
    """Pictures become four tokens of the text encoder."""
    return Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=56 * 56)


def build() -> QwenImagePipeline:
    """The same weights each time; 32 × 32 pictures are 8 × 8 latents, 4 × 4 tokens."""
    return QwenImagePipeline(**_parts(_tokenizer(TEMPLATE), temperal_downsample=[False, True]))


def _parts(tokenizer: Qwen2Tokenizer, temperal_downsample: list[bool]) -> dict[str, Any]:
    torch.manual_seed(0)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH + 5,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
        "bos_token_id": None,
        "eos_token_id": None,
    }
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": WIDTH}
    parts: dict[str, Any] = dict(  # noqa: C408
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
        ),
        vae=AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1] * len(temperal_downsample) + [2],
            num_res_blocks=1,
            temperal_downsample=temperal_downsample,
            latents_mean=[0.1, -0.2, 0.3, 0.4],
            latents_std=[1.5, 2.0, 1.2, 0.8],
        ),
        text_encoder=Qwen2_5_VLForConditionalGeneration(_config(tokenizer, text, vision)),
        tokenizer=tokenizer,
        transformer=QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 6, 6),
        ),
    )
    return parts


def true_parts() -> dict[str, torch.nn.Module]:
    """In their true sizes."""
    encoder = Qwen2_5_VLConfig(text_config=QWEN25_7B, vision_config=VISION_7B, tie_word_embeddings=False)
    return {
        "transformer": QwenImageTransformer2DModel(),
        "vae": AutoencoderKLQwenImage(),
        "text_encoder": Qwen2_5_VLForConditionalGeneration(encoder),
    }


def write_file(pipeline: Any, path: Path, prefix: str = "") -> None:
    """Its transformer as one file: the world trades it with diffusers' names."""
    tensors = pipeline.transformer.state_dict()
    save_file({prefix + name: value.contiguous() for name, value in tensors.items()}, path)


def _config(tokenizer: Qwen2Tokenizer, text: dict[str, Any], vision: dict[str, Any]) -> Qwen2_5_VLConfig:
    pictures = dict(zip(PICTURES, ("vision_start_token_id", "image_token_id", "vision_end_token_id"), strict=True))
    vocabulary = tokenizer.get_vocab()
    ids: dict[str, Any] = {name: vocabulary[token] for token, name in pictures.items() if token in vocabulary}
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)


def _tokenizer(template: str, more: tuple[str, ...] = ()) -> Qwen2Tokenizer:
    """Every byte is a token, and every word of the template."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *more]
    vocab = {piece: index for index, piece in enumerate([*sorted(ByteLevel.alphabet()), *special])}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[], extra_special_tokens=special[1:], model_max_length=2048)
    words = dict.fromkeys(re.findall(r" ?[A-Za-z]+", re.sub(r"<\|\w+\|>", "", template)))
    added: Any = [AddedToken(word, normalized=False) for word in words]
    tokenizer.add_tokens(added)
    return tokenizer
