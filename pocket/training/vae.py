"""The pocket autoencoder: 128 × 128 pictures to 16 × 16 × 8 latents and back.

It learns from catalogue garments and random textures. Afterwards each latent channel's mean and deviation are folded
into its quantising convolutions: the UNet then sees latents of mean 0 and deviation 1 per channel, with
`scaling_factor` 1.
"""

from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor
from torch.nn import functional as F

from pocket.lessons.garments import SIZE, split_catalogue
from pocket.lessons.pictures import draw_all, draw_garments, save_grid, to_float, to_uint8
from pocket.lessons.textures import render_texture
from pocket.training.learning import Learner, Progressed, Schedule

BATCH_SIZE = 8
LATENT_CHANNELS = 8
KL_WEIGHT = 5e-4
INITIAL_LOG_VARIANCE = -6.0
CHROMA_WEIGHT = 2.0
"""Errors of colour count more than errors of brightness, which would otherwise be learnt long before."""


CONFIG: dict[str, Any] = {
    "sample_size": SIZE,
    "block_out_channels": (16, 32, 64, 64),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "latent_channels": LATENT_CHANNELS,
    "scaling_factor": 1.0,
}


def build() -> AutoencoderKL:
    """The untrained autoencoder, about 1.0 M parameters."""
    vae = AutoencoderKL(**CONFIG)
    start_linear(vae)
    return vae


def posterior(vae: AutoencoderKL, pictures_BCHW: Tensor) -> DiagonalGaussianDistribution:
    """The distribution of the latents of float pictures."""
    return vae.encode(pictures_BCHW, return_dict=False)[0]


def decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Latents (B, C, h, w) -> float32 pictures (B, 3, 8 h, 8 w) in about -1..1."""
    return vae.decode(cast(torch.FloatTensor, latents), return_dict=False)[0].float()


def quantising_convolutions(vae: AutoencoderKL) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Weight and bias of `quant_conv` (encoder to latents) and of `post_quant_conv` (latents to decoder)."""
    before, after = vae.quant_conv, vae.post_quant_conv
    assert before is not None
    assert after is not None
    assert before.bias is not None
    assert after.bias is not None
    return (before.weight, before.bias), (after.weight, after.bias)


@torch.no_grad()
def start_linear(vae: AutoencoderKL) -> None:
    """Residual branches start at zero, the other convolutions keep their signal's size, the posterior starts narrow.

    From the usual initialisation such a small autoencoder stays grey for thousands of steps: colour, a small part of
    the signal, drowns in random branches and in posterior noise.
    """
    for name, module in vae.named_modules():
        if name.endswith(("conv2", "to_out.0")):
            module.weight.zero_()
            module.bias.zero_()
        elif isinstance(module, torch.nn.Conv2d):
            module.weight *= 3**0.5
    (weight, bias), _ = quantising_convolutions(vae)
    num_means = len(weight) // 2
    weight[num_means:] *= 0.1
    bias[num_means:] = INITIAL_LOG_VARIANCE


def draw_pictures(work: Path) -> tuple[Tensor, Tensor]:
    """uint8 pictures to train with, half garments and half textures, and held-out garments."""
    seen, held_out = split_catalogue()
    textures = [(render_texture, seed) for seed in range(2000)]
    train_BCHW = draw_all([*draw_garments(seen, 2000, seed=1), *textures], work / "vae-train.safetensors")
    return train_BCHW, draw_all(draw_garments(held_out, 38, seed=2), work / "vae-held-out.safetensors")


def train(work: Path, schedule: Schedule) -> tuple[AutoencoderKL, Progressed]:
    """Trains in `work`, or resumes there; returns the averaged weights with normalised latents."""
    train_BCHW, held_out_BCHW = draw_pictures(work)
    vae = build()

    def batch_loss(generator: torch.Generator) -> Tensor:
        chosen = train_BCHW[torch.randint(len(train_BCHW), (BATCH_SIZE,), generator=generator)]
        return autoencoding_loss(vae, turned(to_float(chosen), generator), generator)

    def held_out_loss() -> float:
        pictures = to_float(held_out_BCHW)
        return F.l1_loss(decode(vae, posterior(vae, pictures).mode()), pictures).item()

    def show() -> None:
        pictures = held_out_BCHW[:10]
        save_grid([pictures, reconstruct(vae, pictures)], work / "vae.png")

    progress = Learner(vae, schedule, work / "vae").fit(batch_loss, held_out_loss, show)
    normalise_latents(vae, train_BCHW[:1000])
    return vae, progress


def autoencoding_loss(vae: AutoencoderKL, pictures_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """The reconstruction's error and a little KL."""
    distribution = posterior(vae, pictures_BCHW)
    kl_per_number = distribution.kl().mean() / distribution.mean[0].numel()
    return picture_loss(decode(vae, distribution.sample(generator)) - pictures_BCHW) + KL_WEIGHT * kl_per_number


def picture_loss(error: Tensor) -> Tensor:
    """L1 and L2 of pixels, L1 of 8 × 8 means and of neighbours' differences, or edges blur; error: (B, 3, H, W)."""
    grey = error.mean(dim=1, keepdim=True)
    error = grey + CHROMA_WEIGHT * (error - grey)
    edges = (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()) / 2
    return error.abs().mean() + error.square().mean() + F.avg_pool2d(error, 8).abs().mean() + edges


def turned(pictures_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Each batch mirrored, upended or transposed at random, and shifted by up to 8 pixels."""
    mirror, upend, transpose = torch.rand(3, generator=generator).lt(0.5).tolist()
    pictures_BCHW = pictures_BCHW.flip(-1) if mirror else pictures_BCHW
    pictures_BCHW = pictures_BCHW.flip(-2) if upend else pictures_BCHW
    pictures_BCHW = pictures_BCHW.transpose(-1, -2) if transpose else pictures_BCHW
    shifts = torch.randint(-8, 9, (2,), generator=generator).tolist()
    return pictures_BCHW.roll(shifts, dims=(-1, -2)).contiguous()


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures_BCHW: Tensor, batch_size: int = 32) -> Tensor:
    """uint8 pictures -> the means of their latents, (B, C, H / 8, W / 8) float32."""
    return torch.cat([posterior(vae, to_float(batch)).mode() for batch in pictures_BCHW.split(batch_size)])


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, pictures_BCHW: Tensor) -> Tensor:
    """uint8 pictures through the autoencoder, uint8."""
    return to_uint8(decode(vae, encode(vae, pictures_BCHW)))


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, pictures_BCHW: Tensor) -> None:
    """Rewrites `quant_conv` and `post_quant_conv` so that these pictures' latents have mean 0, deviation 1 per channel.

    Decoding an encoded picture gives the same result as before: one convolution reverses the other.
    """
    latents = encode(vae, pictures_BCHW)
    mean_C, std_C = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    (weight, bias), (weight_after, bias_after) = quantising_convolutions(vae)
    weight[:LATENT_CHANNELS] /= std_C.reshape(-1, 1, 1, 1)
    bias[:LATENT_CHANNELS] = (bias[:LATENT_CHANNELS] - mean_C) / std_C
    bias[LATENT_CHANNELS:] -= 2 * std_C.log()
    bias_after += (weight_after[:, :, 0, 0] * mean_C).sum(dim=1)
    weight_after *= std_C.reshape(1, -1, 1, 1)
