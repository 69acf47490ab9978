"""Where the crisp VAE starts: the best autoencoder that convolutions alone make, in the shapes of an `AutoencoderKL`.

With residual branches that begin at zero an `AutoencoderKL` is a chain of convolutions, but for one normalisation and
one SiLU before the last convolution of either half. Pairs of channels with opposite signs carry a number past them:
silu(x) − silu(−x) = x, and channels that hold a large constant beside the pairs keep the normalisation's divisor the
same for every picture. So the chain learns by itself, in minutes, from the principal components of 8 × 8 patches, and
`write` copies it into the VAE, which then draws the same pictures.
Layout: B pictures, K latent channels, H × W pixels.
"""

from collections.abc import Iterable
from typing import Any, cast

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

ENCODER_CONSTANT, DECODER_CONSTANT = 64.0, 4.0
"""What constant channels hold; the numbers beside them are of the order of 1. The decoder's later branches see them."""
LOG_VARIANCE = -9.0
"""Of the latents' distribution, everywhere the same."""


class LinearStart(nn.Module):
    """Pictures (B, 3, H, W) -> (latents (B, K, H / 8, W / 8), pictures); weights start at the principal components."""

    def __init__(self, components: Tensor, mean: Tensor, widths: tuple[int, int, int, int]) -> None:
        """Components (192, K) and mean (192,) of patches as `F.pixel_unshuffle` orders them; widths: of the VAE."""
        super().__init__()
        _, narrow, wide, widest = widths
        num_latents = components.shape[1]
        self.down = nn.ModuleList(
            nn.Conv2d(*channels, 3, stride=2) for channels in ((3, 12), (12, 48), (48, num_latents))
        )
        self.to_latents = nn.Conv2d(num_latents, num_latents, 3, padding=1)
        self.from_latents = nn.Conv2d(num_latents, widest, 3, padding=1)
        self.up = nn.ModuleList(
            nn.Conv2d(*channels, 3, padding=1) for channels in ((widest, wide), (wide, narrow), (narrow, 3))
        )
        self.to_picture = nn.Conv2d(3, 3, 3, padding=1)
        self._start(components, mean)

    @torch.no_grad()
    def _start(self, components: Tensor, mean: Tensor) -> None:
        """The encoder computes the components exactly; the decoder's last convolution is the identity."""
        first, second, last = down = cast(list[Any], [*self.down])
        for convolution in cast(list[Any], [*down, self.to_latents, self.to_picture]):
            convolution.weight.zero_()
            convolution.bias.zero_()
        first.weight[:, :, :2, :2] = torch.eye(12).reshape(12, 3, 2, 2)
        second.weight[:, :, :2, :2] = torch.eye(48).reshape(48, 12, 2, 2)
        # a pixel's row is 4 y3 + 2 y2 + y1: convolution number n sees y_n
        by_bits = components.T.reshape(-1, 3, 2, 2, 2, 2, 2, 2).permute(0, 1, 4, 7, 3, 6, 2, 5)
        last.weight[:, :, :2, :2] = by_bits.reshape(-1, 48, 2, 2)
        last.bias.copy_(-(mean @ components))
        for convolution in (self.to_latents, self.to_picture):
            convolution.weight[:, :, 1, 1] = torch.eye(convolution.out_channels)

    def encode(self, pictures_BCHW: Tensor) -> Tensor:
        """The latents' means."""
        for convolution in self.down:
            pictures_BCHW = convolution(F.pad(pictures_BCHW, (0, 1, 0, 1)))
        return self.to_latents(pictures_BCHW)

    def forward(self, pictures_BCHW: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        latents = self.encode(pictures_BCHW)
        return latents, self.decode(latents)

    def decode(self, latents_BKHW: Tensor) -> Tensor:
        """Pictures, (B, 3, 8 H, 8 W)."""
        hidden = self.from_latents(latents_BKHW)
        for convolution in self.up:
            hidden = convolution(F.interpolate(hidden, scale_factor=2.0, mode="nearest"))
        return self.to_picture(hidden)

    @torch.no_grad()
    def partly_whitened(self, pictures_BCHW: Tensor, power: float) -> Tensor:
        """For each latent channel the size of what it draws in these pictures, to `power`, 1 on average; (K,)."""
        sizes_K = (self.encode(pictures_BCHW).std(dim=(0, 2, 3)) * self._pixels_per_latent()) ** power
        return sizes_K / sizes_K.square().mean().sqrt()

    @torch.no_grad()
    def rescale(self, pictures_BCHW: Tensor, std_K: Tensor, conv_in: nn.Conv2d | None = None) -> None:
        """Latents of these pictures get mean 0 and these deviations per channel.

        Only the encoder's last convolution and the decoder's first change, by default the chain's own: what is drawn
        stays the same, but for a border of one patch.
        """
        to_latents, after = cast(list[Any], [self.to_latents, conv_in or self.from_latents])
        latents = self.encode(pictures_BCHW)
        mean_K, factor_K = latents.mean(dim=(0, 2, 3)), std_K / latents.std(dim=(0, 2, 3))
        to_latents.weight *= factor_K.reshape(-1, 1, 1, 1)
        to_latents.bias.copy_((to_latents.bias - mean_K) * factor_K)
        after.bias += after.weight.sum(dim=(2, 3)) @ mean_K
        after.weight /= factor_K.reshape(1, -1, 1, 1)

    def _pixels_per_latent(self) -> Tensor:
        """How large a pattern one unit of each latent channel draws: the root of its pixels' squared sum, (K,)."""
        num_latents = self.to_latents.out_channels
        singles = torch.cat([torch.zeros(1, num_latents), torch.eye(num_latents)])[..., None, None]
        drawn = self.decode(F.pad(singles, (2, 2, 2, 2)))
        return (drawn[1:] - drawn[:1]).square().sum(dim=(1, 2, 3)).sqrt()


def principal_components(patches_ND: Tensor, num_components: int) -> tuple[Tensor, Tensor]:
    """(components (D, K), scaled so that each has deviation 1 on these patches; mean (D,))."""
    mean_D = patches_ND.mean(dim=0)
    variances, vectors = torch.linalg.eigh(torch.cov(patches_ND.T))
    return (vectors / variances.sqrt()).flip(1)[:, :num_components], mean_D


@torch.no_grad()
def write(start: LinearStart, vae: AutoencoderKL) -> None:
    """Copies the chain into a VAE without quantising convolutions; other channels keep their random weights.

    Where residual branches end they are set to zero, so that the VAE computes the chain and nothing else.
    """
    for name, module in cast(Iterable[tuple[str, Any]], vae.named_modules()):
        if name.endswith("conv2"):
            module.weight.zero_()
            module.bias.zero_()
        if name.endswith("conv_shortcut"):
            module.weight.copy_(torch.eye(*module.weight.shape[:2])[..., None, None])
            module.bias.zero_()
    write_encoder(start, vae)
    _write_decoder(start, vae)


@torch.no_grad()
def write_encoder(start: LinearStart, vae: AutoencoderKL) -> None:
    """Copies the chain's encoder only, into a VAE that `write` has prepared."""
    encoder, num_latents = cast(Any, vae.encoder), start.to_latents.out_channels
    _place(encoder.conv_in, torch.eye(3)[..., None, None])
    for block, convolution in zip(encoder.down_blocks, cast(Iterable[nn.Conv2d], start.down), strict=False):
        _place(block.downsamplers[0].conv, convolution.weight, convolution.bias)
    signs, last = (
        Signs(encoder.conv_norm_out, num_latents, ENCODER_CONSTANT),
        encoder.down_blocks[2].downsamplers[0].conv,
    )
    weight, bias = last.weight[:num_latents].clone(), last.bias[:num_latents].clone()
    last.weight.copy_(torch.einsum("ok,kchw->ochw", signs.matrix, weight))
    last.bias.copy_(signs.matrix @ bias)
    encoder.mid_block.resnets[-1].conv2.bias.copy_(signs.constants)
    signs.open(encoder.conv_norm_out)
    encoder.conv_out.weight.zero_()
    encoder.conv_out.weight[:num_latents] = torch.einsum("kchw,oc->kohw", start.to_latents.weight, signs.matrix)
    encoder.conv_out.bias[:num_latents] = start.to_latents.bias
    encoder.conv_out.bias[num_latents:] = LOG_VARIANCE


def _write_decoder(start: LinearStart, vae: AutoencoderKL) -> None:
    decoder = cast(Any, vae.decoder)
    decoder.conv_in.weight.copy_(start.from_latents.weight)
    decoder.conv_in.bias.copy_(start.from_latents.bias)
    for block, convolution in zip(decoder.up_blocks, cast(Iterable[nn.Conv2d], start.up), strict=False):
        target = block.upsamplers[0].conv
        target.weight[: convolution.out_channels] = convolution.weight
        target.bias[: convolution.out_channels] = convolution.bias
    signs, last = Signs(decoder.conv_norm_out, 3, DECODER_CONSTANT), decoder.up_blocks[-1].resnets[0].conv_shortcut
    last.weight[:, :3] = signs.matrix[..., None, None]
    last.weight[:, 3:] = 0
    last.bias.copy_(signs.constants)
    signs.open(decoder.conv_norm_out)
    decoder.conv_out.weight.copy_(torch.einsum("kchw,oc->kohw", start.to_picture.weight, signs.matrix))
    decoder.conv_out.bias.copy_(start.to_picture.bias)


def _place(target: Any, weight: Tensor, bias: Tensor | None = None) -> None:
    """Zeros but for the first channels; a 1 × 1 weight goes to the centre."""
    target.weight.zero_()
    target.bias.zero_()
    out_channels, in_channels, height, _ = weight.shape
    if height == 1:
        target.weight[:out_channels, :in_channels, 1:2, 1:2] = weight
    else:
        target.weight[:out_channels, :in_channels] = weight
    if bias is not None:
        target.bias[:out_channels] = bias


class Signs:
    """Which of a normalisation's channels carry which number, and with which sign."""

    def __init__(self, norm: nn.GroupNorm, num_numbers: int, constant: float) -> None:
        """Pairs are dealt to the groups in turn; each group needs two channels more, for the constants."""
        self.matrix = torch.zeros(norm.num_channels, num_numbers)
        """(channels, numbers): 1, −1 or 0."""
        self.constants = torch.zeros(norm.num_channels)
        per_group = norm.num_channels // norm.num_groups
        used = [0] * norm.num_groups
        for number in range(num_numbers):
            group = number % norm.num_groups
            first = group * per_group + used[group]
            self.matrix[first, number], self.matrix[first + 1, number] = 1, -1
            used[group] += 2
        for group, count in enumerate(used):
            first = group * per_group + count
            self.constants[first], self.constants[first + 1] = constant, -constant

    def open(self, norm: nn.GroupNorm) -> None:
        """Undoes the division by the deviation that the constants cause, and lets no constant through."""
        deviation = self.constants.square().mean().sqrt()
        norm.weight.copy_(deviation * (self.constants == 0))
        norm.bias.zero_()
