"""More training for the pocket VAE's decoder alone: sharper pictures from the same latents.

The encoder stays as it is, so whatever has been learnt about its latents remains true. The latents get a little noise:
the denoiser's are never exact either.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from pocket.lessons.pictures import save_grid, to_float
from pocket.training.learning import Learner, Progressed, Schedule
from pocket.training.vae import BATCH_SIZE, decode, draw_pictures, encode, picture_loss, reconstruct

LATENT_NOISE = 0.05


def train(work: Path, schedule: Schedule, vae: AutoencoderKL) -> Progressed:
    """Trains the decoder of a trained `vae` in place, in `work`, or resumes there."""
    train_BCHW, held_out_BCHW = draw_pictures(work)
    latents, held_out_latents = encode_once(work, vae, train_BCHW), encode(vae, held_out_BCHW)
    vae.encoder.requires_grad_(False)
    if vae.quant_conv is not None:
        vae.quant_conv.requires_grad_(False)

    def batch_loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(latents), (BATCH_SIZE,), generator=generator)
        noise = torch.randn(latents[chosen].shape, generator=generator)
        return picture_loss(decode(vae, latents[chosen] + LATENT_NOISE * noise) - to_float(train_BCHW[chosen]))

    def held_out_loss() -> float:
        return F.l1_loss(decode(vae, held_out_latents), to_float(held_out_BCHW)).item()

    def show() -> None:
        save_grid([held_out_BCHW[:10], reconstruct(vae, held_out_BCHW[:10])], work / "decoder.png")

    return Learner(vae, schedule, work / "decoder").fit(batch_loss, held_out_loss, show)


def encode_once(work: Path, vae: AutoencoderKL, pictures_BCHW: Tensor) -> Tensor:
    """The pictures' latents, kept in `work`."""
    cache = work / "latents-vae-train.safetensors"
    if not cache.exists():
        with torch.autocast("cpu", torch.bfloat16):
            save_file({"latents": encode(vae, pictures_BCHW).float().contiguous()}, cache)
    return load_file(cache)["latents"]
