"""EfficientNet-Lite0 as an encoder: what its blocks see of a picture, pooled, at four depths.

The network is EfficientNet-B0 (Tan & Le 2019, table 1) without squeeze-and-excitation, with ReLU6 (the authors' "lite"
variant). Its batch norms are folded into the convolutions, so every layer is a convolution with a bias. It was trained
with TensorFlow, which pads a picture at its lower and right sides first: other padding moves every edge by a pixel.

Shallow blocks know contrast and sharpness, deep ones know what is shown. B pictures, C channels, H × W pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize, pad, relu6

from shared.errors import ModelError
from shared.files.publication import sha256
from tasks.text_to_image.encoders.encoder import Encoder, EncoderRecord, unable

NAME = "efficientnet-lite0"
WEIGHTS = Path(__file__).parent / "model.safetensors"
EDGE = 224
"""Edge of the pictures it was trained on, pixels."""
MEAN, STD = 127 / 255, 128 / 255
"""Of every channel, in 0…1."""
STEM = 32
STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
          (6, 320, 1, 1, 3))  # fmt: skip
"""Expansion, channels, blocks, stride of the first block, edge of the kernel."""
DEPTHS = (3, 6, 11, 15)
"""The blocks whose output is looked at, with 40, 80, 192 and 320 channels."""
PATCH_DEPTHS = (6, 11)
"""Those that tell subjects apart best, place by place (`benchmarks/reports/profiles_2-core-cpu_202611.md`)."""


class Convolution(nn.Conv2d):
    """A convolution with TensorFlow's `SAME` padding."""

    def __init__(self, channels: int, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, filters, kernel, stride, groups=groups)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to (B, filters, ⌈H / stride⌉, ⌈W / stride⌉)."""
        sides = [_padding(edge, self.kernel_size[0], self.stride[0]) for edge in (input.shape[3], input.shape[2])]
        return super().forward(pad(input, [amount for side in sides for amount in side]))


class Block(nn.Module):
    """An inverted residual (Sandler et al. 2018): widen, filter each channel, narrow; the input is added if it fits."""

    def __init__(self, channels: int, filters: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand = Convolution(channels, wide) if expansion > 1 else None
        self.depthwise = Convolution(wide, wide, kernel, stride, groups=wide)
        self.project = Convolution(wide, filters)
        self.is_residual = stride == 1 and channels == filters

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The block's output, not activated."""
        wide = relu6(self.expand(x_BCHW)) if self.expand else x_BCHW
        narrow = self.project(relu6(self.depthwise(wide)))
        return narrow + x_BCHW if self.is_residual else narrow


class EfficientNetLite0(nn.Module):
    """The network up to its last block; its classifier is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, STEM, 3, 2)
        self.blocks = nn.ModuleList(_blocks())

    def forward(self, pixel_values_BCHW: Tensor) -> Tensor:
        """(B, 632): the blocks at `DEPTHS`, averaged over the picture, each of length one."""
        return torch.cat([normalize(x.mean(dim=(2, 3)), dim=1) for x in self.maps(pixel_values_BCHW, DEPTHS)], dim=1)

    def maps(self, pixel_values_BCHW: Tensor, depths: Collection[int]) -> list[Tensor]:
        """The output of these blocks, (B, C, H, W) each."""
        x, seen = relu6(self.stem(pixel_values_BCHW)), []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in depths:
                seen.append(x)
        return seen

    def patches(self, pixel_values_BCHW: Tensor) -> Tensor:
        """(B, 196, 272): the blocks at `PATCH_DEPTHS`, each of length one, at every place of the 14 × 14 grid."""
        fine, coarse = (normalize(x, dim=1) for x in self.maps(pixel_values_BCHW, PATCH_DEPTHS))
        coarse = interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=False)
        return torch.cat([fine, normalize(coarse, dim=1)], dim=1).flatten(2).transpose(1, 2)


def load(device: str) -> Encoder:
    """The encoder, in float32.

    Raises:
        ModelError: its weights are not those that belong to this version.
    """
    network = load_network(device)
    return Encoder(
        record=EncoderRecord(model=NAME, digest=sha256(WEIGHTS)),
        edge=EDGE,
        mean=(MEAN, MEAN, MEAN),
        std=(STD, STD, STD),
        see=network,
        read=unable(ModelError(f"{NAME} reads no text", "configure a CLIP as the fashion encoder")),
        device=device,
        patches=network.patches,
    )


def load_network(device: str) -> EfficientNetLite0:
    """The network alone. Raises as `load` does."""
    network = EfficientNetLite0()
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()})
    except Exception as error:  # safetensors' own, the operating system's, torch's for keys and shapes
        raise ModelError(f"the weights of {NAME} cannot be read from {WEIGHTS}: {error}", "install again") from error
    return network.to(device).eval()


def _blocks() -> Iterator[Block]:
    channels = STEM
    for expansion, filters, repeats, stride, kernel in STAGES:
        for number in range(repeats):
            yield Block(channels, filters, expansion, stride if number == 0 else 1, kernel)
            channels = filters


def _padding(edge: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels before and after; where their sum is odd, the one more comes after."""
    total = max(0, (-(-edge // stride) - 1) * stride + kernel - edge)
    return total // 2, total - total // 2
