"""The crisp autoencoder of the flow base: 128 × 128 pictures to 16 × 16 × 32 latents and back, tartans included.

It learns in two stages. A chain of convolutions learns first, from the principal components of 8 × 8 patches
(`linear_start`); the VAE starts where the chain ends, and then learns on: the decoder with residual branches, the
encoder as a chain, so that latents are a linear function of the picture.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from pocket.lessons.garments import concept, split_catalogue
from pocket.lessons.pictures import draw_all, draw_garments, save_grid, to_float, to_uint8
from pocket.lessons.textures import render_texture
from pocket.lessons.weaves import render_weave
from pocket.training.learning import Learner, Progressed, Schedule
from pocket.training.linear_start import LinearStart, principal_components, write, write_encoder
from pocket.training.vae import CONFIG as POCKET_CONFIG
from pocket.training.vae import decode, picture_loss, turned

CROP = 64
"""Edge of the pictures in a batch, pixels."""
LATENT_CHANNELS = 32
LATENT_NOISE = 0.01
WHITENING = 0.5
"""Deviations of latent channels to this power: coarse structure stays larger than fine, but less so than in pixels."""

CONFIG: dict[str, Any] = POCKET_CONFIG | {
    "block_out_channels": (24, 48, 96, 96),
    "latent_channels": LATENT_CHANNELS,
    "shift_factor": 0.0,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "mid_block_add_attention": False,
}


def build(start: LinearStart) -> AutoencoderKL:
    """The autoencoder that computes what `start` computes, 2.2 M parameters."""
    vae = AutoencoderKL(**CONFIG)
    write(start, vae)
    return vae


class Lessons:
    """Pictures to learn from, each kind drawn once and kept in the work folder."""

    def __init__(self, work: Path) -> None:
        seen, held_out = split_catalogue()
        self.garments = draw_all(draw_garments(seen, 342, seed=1), work / "crisp-garments.safetensors")
        self.weaves = draw_all([(small_weave, seed) for seed in range(500)], work / "crisp-weaves.safetensors")
        self.textures = draw_all([(render_texture, seed) for seed in range(60)], work / "crisp-textures.safetensors")
        self.held_out = draw_all(draw_garments(held_out, 38, seed=2), work / "vae-held-out.safetensors")
        self.kimonos = draw_kimonos(work)

    def batch(self, generator: torch.Generator, num_garments: int, num_weaves: int) -> Tensor:
        """Float crops of garments, weaves and one texture, mirrored, upended or transposed at random.

        Colours of all but the garments are exchanged: red may become blue.
        """
        others = torch.cat([_crops(self.weaves, num_weaves, generator), _crops(self.textures, 1, generator)])
        others = others[:, torch.randperm(3, generator=generator)]
        return turned(torch.cat([_crops(self.garments, num_garments, generator), others]), generator)

    def sample(self) -> Tensor:
        """160 crops, always the same."""
        generator = torch.Generator().manual_seed(1)
        return torch.cat([self.batch(generator, 4, 3) for _ in range(20)])


def small_weave(seed: int) -> Image.Image:
    """A weave of one crop."""
    return render_weave(seed, CROP)


def draw_kimonos(work: Path) -> Tensor:
    """Kimonos of the demo, which nothing here learns from, (40, 3, H, W) uint8."""
    return draw_all([(kimono, seed) for seed, kimono in enumerate(concept(40))], work / "kimonos.safetensors")


def _crops(pictures_BCHW: Tensor, number: int, generator: torch.Generator) -> Tensor:
    chosen = pictures_BCHW[torch.randint(len(pictures_BCHW), (number,), generator=generator)]
    corners = torch.randint(pictures_BCHW.shape[-1] - CROP + 1, (number, 2), generator=generator).tolist()
    return to_float(torch.stack([p[:, y : y + CROP, x : x + CROP] for p, (y, x) in zip(chosen, corners, strict=True)]))


def train_start(work: Path, schedule: Schedule, lessons: Lessons) -> tuple[LinearStart, Progressed]:
    """The chain of convolutions, trained in `work`, or resumed there; its latents are scaled."""
    generator = torch.Generator().manual_seed(0)
    patches = torch.cat([F.pixel_unshuffle(lessons.batch(generator, 4, 3), 8) for _ in range(120)])
    components, mean = principal_components(patches.permute(0, 2, 3, 1).flatten(0, 2), LATENT_CHANNELS)
    torch.manual_seed(0)
    start = LinearStart(components, mean, CONFIG["block_out_channels"])

    def batch_loss(generator: torch.Generator) -> Tensor:
        pictures = lessons.batch(generator, 4, 3)
        error = start(pictures)[1].float() - pictures
        return error.square().mean() + 0.3 * error.abs().mean()

    def held_out_loss() -> float:
        pictures = to_float(lessons.held_out)
        return F.l1_loss(start(pictures)[1].float(), pictures).item()

    progress = Learner(start, schedule, work / "crisp-start").fit(batch_loss, held_out_loss)
    pictures = lessons.sample()
    start.rescale(pictures, start.partly_whitened(pictures, WHITENING))
    return start, progress


def train(work: Path, schedule: Schedule, lessons: Lessons, start: LinearStart) -> tuple[AutoencoderKL, Progressed]:
    """The VAE, trained in `work` from the end of `start`, or resumed there; returns the averaged weights.

    The chain's encoder learns on as a chain, a tenth of the work; in the end it is written into the VAE.
    """
    torch.manual_seed(0)
    vae = build(start)
    std_K = start.encode(lessons.sample()).std(dim=(0, 2, 3)).detach()

    def batch_loss(generator: torch.Generator) -> Tensor:
        pictures = lessons.batch(generator, 3, 2)
        latents = start.encode(pictures).float()
        noise = torch.randn(latents.shape, generator=generator)
        return picture_loss(decode(vae, latents + LATENT_NOISE * noise) - pictures)

    def held_out_loss() -> float:
        pictures = to_float(lessons.held_out)
        return F.l1_loss(decode(vae, start.encode(pictures)), pictures).item()

    def show() -> None:
        pictures = torch.cat([lessons.held_out[:5], lessons.kimonos[:5]])
        save_grid([pictures, to_uint8(decode(vae, start.encode(to_float(pictures))))], work / "crisp.png")

    learnt = nn.ModuleList([start.down, start.to_latents, vae.decoder])
    progress = Learner(learnt, schedule, work / "crisp").fit(batch_loss, held_out_loss, show)
    start.rescale(lessons.sample(), std_K, vae.decoder.conv_in)
    write_encoder(start, vae)
    return vae.eval(), progress
