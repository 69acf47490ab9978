"""A diffusers pipeline as one `.safetensors` file in the layout of its authors (LDM, sgm), as the world trades them.

diffusers only reads that layout; this is the way back, so that its own reader proves ours.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.loaders.single_file_utils import DIFFUSERS_TO_LDM_MAPPING
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE = [
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    (r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2"),
    (r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.(\d+)\.resnets\.(\d+)", r"up.\1.block.\2"),
    (r"up_blocks\.(\d+)\.upsamplers\.0", r"up.\1.upsample"),
    ("conv_shortcut", "nin_shortcut"),
    ("conv_norm_out", "norm_out"),
    ("group_norm", "norm"),
    ("to_q", "q"),
    ("to_k", "k"),
    ("to_v", "v"),
    (r"to_out\.0", "proj_out"),
]
OPEN_CLIP = [
    (r"encoder\.layers", "transformer.resblocks"),
    ("self_attn", "attn"),
    ("layer_norm", "ln_"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
    ("final_ln_", "ln_final"),
    (r"embeddings\.token_embedding", "token_embedding"),
    (r"embeddings\.position_embedding\.weight", "positional_embedding"),
]


def write(folder: Path, path: Path) -> None:
    """Write UNet, VAE and text encoders of an SD 1.x, 2.x or SDXL pipeline's folder."""
    pipeline: Any = DiffusionPipeline.from_pretrained(folder)
    tensors = {f"model.diffusion_model.{key}": value for key, value in _unet(pipeline.unet).items()}
    tensors |= {f"first_stage_model.{key}": value for key, value in _vae(pipeline.vae).items()}
    tensors |= _text_encoders(pipeline)
    save_file({key: value.contiguous().clone() for key, value in tensors.items()}, path)


def mark(source: Path, path: Path, *markers: str, **metadata: str) -> Path:
    """A copy that says more of itself: by empty tensors, and by `modelspec.…` in its header."""
    tensors = load_file(source) | {marker: torch.tensor([]) for marker in markers}
    save_file(tensors, path, {f"modelspec.{key}": value for key, value in metadata.items()})
    return path


def _text_encoders(pipeline: Any) -> Tensors:
    if hasattr(pipeline, "text_encoder_2"):
        first = _prefixed("conditioner.embedders.0.transformer.text_model.", _clip(pipeline.text_encoder))
        return first | _prefixed("conditioner.embedders.1.model.", _open_clip(pipeline.text_encoder_2))
    if pipeline.unet.config.use_linear_projection:
        return _prefixed("cond_stage_model.model.", _open_clip(pipeline.text_encoder))
    return _prefixed("cond_stage_model.transformer.text_model.", _clip(pipeline.text_encoder))


def _prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + key: value for key, value in tensors.items()}


def _unet(unet: Any) -> Tensors:
    mapping = DIFFUSERS_TO_LDM_MAPPING["unet"]
    whole = {**mapping["layers"], **mapping["addition_embed_type"]}
    return {whole.get(key) or _unet_key(key, unet): value for key, value in unet.state_dict().items()}


def _unet_key(key: str, unet: Any) -> str:
    """Where a tensor of a block stands in LDM's flat lists."""
    per_block = unet.config.layers_per_block + 1
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", key):
        kind, number, rest = match.groups()
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(number)}.{_resnet(rest, kind)}"
    match = re.match(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", key)
    assert match, key
    side, block, kind, layer, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * per_block}.0.{rest.replace('conv', 'op')}"
    if kind == "upsamplers":
        place = 1 + ("Attn" in unet.config.up_block_types[block])
        return f"output_blocks.{(block + 1) * per_block - 1}.{place}.{rest}"
    flat = (
        f"input_blocks.{1 + block * per_block + layer}"
        if side == "down"
        else f"output_blocks.{block * per_block + layer}"
    )
    return f"{flat}.{int(kind == 'attentions')}.{_resnet(rest, kind)}"


def _resnet(rest: str, kind: str) -> str:
    first, _, last = rest.partition(".")
    return f"{RESNET[first]}.{last}" if kind == "resnets" else rest


def _vae(vae: Any) -> Tensors:
    """The decoder counts its blocks from the picture's side; attention was written as 1 × 1 convolutions."""
    blocks = len(vae.config.block_out_channels)
    found: Tensors = {}
    for key, value in vae.state_dict().items():
        name = re.sub(
            r"decoder\.up_blocks\.(\d+)", lambda match: f"decoder.up_blocks.{blocks - 1 - int(match[1])}", key
        )
        for pattern, replacement in VAE:
            name = re.sub(pattern, replacement, name)
        convolution = ".mid.attn_1." in name and "norm" not in name and name.endswith("weight")
        found[name] = value[:, :, None, None] if convolution else value
    return found


def _clip(text_encoder: Any) -> Tensors:
    """As transformers names it, without `text_model.`."""
    return {key.removeprefix("text_model."): value for key, value in text_encoder.state_dict().items()}


def _open_clip(text_encoder: Any) -> Tensors:
    found: Tensors = {}
    tensors = _clip(text_encoder)
    if "text_projection.weight" in tensors:
        found["text_projection"] = tensors.pop("text_projection.weight").T
    for key, value in tensors.items():
        if ".q_proj." in key:
            fused = torch.cat([tensors[key.replace(".q_proj.", f".{name}_proj.")] for name in "qkv"])
            found[_open_clip_key(key.replace(".q_proj.", ".in_proj_"))] = fused
        elif ".k_proj." not in key and ".v_proj." not in key:
            found[_open_clip_key(key)] = value
    return found


def _open_clip_key(key: str) -> str:
    for pattern, replacement in OPEN_CLIP:
        key = re.sub(pattern, replacement, key)
    return key
