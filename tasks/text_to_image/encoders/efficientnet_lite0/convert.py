"""`python -m tasks.text_to_image.encoders.efficientnet_lite0.convert CHECKPOINT`: makes `model.safetensors`.

CHECKPOINT is `efficientnet-lite0-57934424.pth` of the package that the README beside this file names. Nothing else of
Darkroom calls this. Each batch norm is folded into the convolution before it, the classifier is dropped, and weights
are stored in half precision (biases in single).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tasks.text_to_image.encoders.efficientnet_lite0.network import WEIGHTS, EfficientNetLite0

EPSILON = 1e-3
"""Of every batch norm."""
CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")


def folded(checkpoint: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `EfficientNetLite0`.

    Raises:
        ValueError: a tensor of the checkpoint is of no use, or one is missing.
    """
    left = {name: tensor for name, tensor in checkpoint.items() if not name.startswith(CLASSIFIER)}
    found: dict[str, Tensor] = {}
    for name in (name.removesuffix(".weight") for name in EfficientNetLite0().state_dict() if name.endswith(".weight")):
        convolution, norm = _names(name, left)
        kernel = left.pop(f"{convolution}.weight")
        gain, shift, mean, variance = (
            left.pop(f"{norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var")
        )
        del left[f"{norm}.num_batches_tracked"]
        scale = gain / (variance + EPSILON).sqrt()
        found[f"{name}.weight"] = (kernel * scale[:, None, None, None]).half()
        found[f"{name}.bias"] = shift - mean * scale
    if left:
        raise ValueError(f"unknown tensors: {', '.join(left)}")
    return found


def _names(name: str, checkpoint: dict[str, Tensor]) -> tuple[str, str]:
    """What the checkpoint calls a convolution, and the norm after it."""
    if name == "stem":
        return "_conv_stem", "_bn0"
    _, number, part = name.split(".")
    norm = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[part]
    return f"_blocks.{number}._{part}_conv", f"_blocks.{number}.{norm}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    loaded = torch.load(parser.parse_args().checkpoint, weights_only=True)  # noqa: TID251 its authors publish no other
    save_file({name: tensor.contiguous() for name, tensor in folded(loaded).items()}, WEIGHTS)
