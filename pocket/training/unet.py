"""The pocket denoiser: 16 × 16 × 8 latents, conditioned on the frozen pocket CLIP's text tower, as in Stable Diffusion.

Velocity prediction (Salimans & Ho 2022) on a linear noise schedule that ends in pure noise. Pictures and captions are
encoded once. A tenth of the captions is dropped for classifier-free guidance (Ho & Salimans 2022).
Layout: B examples, C × H × W latents, L tokens, D text dimensions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from pocket.lessons.garments import SIZE, catalogue, split_catalogue
from pocket.lessons.pictures import draw_all, draw_garments
from pocket.training.clip import WIDTH, tokenise, tokenise_catalogue
from pocket.training.learning import Learner, Progressed, Schedule
from pocket.training.vae import LATENT_CHANNELS, encode

BATCH_SIZE = 32
CAPTION_DROPOUT = 0.1


CONFIG: dict[str, Any] = {
    "sample_size": SIZE // 8,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "block_out_channels": (64, 128),
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "cross_attention_dim": WIDTH,
    "norm_num_groups": 16,
}


def build() -> UNet2DConditionModel:
    """The untrained denoiser, about 4.3 M parameters."""
    return UNet2DConditionModel(**CONFIG)


def noise_scheduler() -> DDPMScheduler:
    """The schedule of training. `clip_sample` is off: latents reach beyond ±1, and clipped pictures come out pale."""
    return DDPMScheduler(
        beta_schedule="linear",
        prediction_type="v_prediction",
        clip_sample=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )


def sampler() -> DPMSolverMultistepScheduler:
    """The published pipeline's scheduler: DPM-Solver++, good at 20 steps, with the training schedule's settings."""
    return cast(DPMSolverMultistepScheduler, DPMSolverMultistepScheduler.from_config(noise_scheduler().config))


@dataclass(frozen=True)
class Encoded:
    """Pictures and captions as the denoiser sees them."""

    latents: Tensor
    """(B, C, H, W)."""
    numbers: Tensor
    """(B,): each picture's garment, as an index into the catalogue."""
    captions: Tensor
    """(N, number of wordings, L, D): hidden states of every caption of the catalogue."""
    no_caption: Tensor
    """(L, D): hidden states of the empty caption."""

    def batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents (B, C, H, W) and hidden states (B, L, D) of a random batch with random wordings, some dropped."""
        chosen = torch.randint(len(self.latents), (BATCH_SIZE,), generator=generator)
        wordings = torch.randint(self.captions.shape[1], (BATCH_SIZE,), generator=generator)
        dropped = torch.rand(BATCH_SIZE, generator=generator) < CAPTION_DROPOUT
        hidden_states = self.captions[self.numbers[chosen], wordings]
        return self.latents[chosen], torch.where(dropped[:, None, None], self.no_caption, hidden_states)


@torch.no_grad()
def encode_pictures(work: Path, vae: AutoencoderKL, captions: Tensor, no_caption: Tensor) -> tuple[Encoded, Encoded]:
    """(train, held out); the latents are kept in `work`."""
    seen, held_out = split_catalogue()
    parts = {"train": draw_garments(seen, 6000, seed=10_000), "held-out": draw_garments(held_out, 190, seed=3)}
    encoded = []
    for name, pictures in parts.items():
        cache = work / f"latents-{name}.safetensors"
        if not cache.exists():
            drawn = draw_all(pictures, work / f"{name}.safetensors")
            with torch.autocast("cpu", torch.bfloat16):
                save_file({"latents": encode(vae, drawn).float().contiguous()}, cache)
        numbers = torch.tensor([catalogue().index(garment) for garment, _ in pictures])
        encoded.append(Encoded(load_file(cache)["latents"], numbers, captions, no_caption))
    return encoded[0], encoded[1]


@torch.no_grad()
def encode_captions(text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> tuple[Tensor, Tensor]:
    """Hidden states of the catalogue's captions (N, wordings, L, D) and of the empty one (L, D)."""
    input_ids = tokenise_catalogue(tokenizer)
    hidden_states = torch.cat([text_encoder(batch).last_hidden_state for batch in input_ids.flatten(0, 1).split(128)])
    return hidden_states.unflatten(0, input_ids.shape[:2]), text_encoder(tokenise(tokenizer, [""])).last_hidden_state[0]


def train(
    work: Path, schedule: Schedule, encoded: tuple[Encoded, Encoded], on_save: Callable[[UNet2DConditionModel], None]
) -> tuple[UNet2DConditionModel, Progressed]:
    """Trains in `work`, or resumes there; returns the averaged weights. `on_save` sees them, every `save_steps`."""
    unet, scheduler = build(), noise_scheduler()
    train_set, held_out_set = encoded

    def batch_loss(generator: torch.Generator) -> Tensor:
        latents, encoder_hidden_states = train_set.batch(generator)
        return denoising_loss(unet, scheduler, latents, encoder_hidden_states, generator)

    def held_out_loss() -> float:
        generators = [torch.Generator().manual_seed(seed) for seed in range(6)]
        losses = [
            denoising_loss(unet, scheduler, *held_out_set.batch(generator), generator) for generator in generators
        ]
        return torch.stack(losses).mean().item()

    progress = Learner(unet, schedule, work / "unet").fit(batch_loss, held_out_loss, lambda: on_save(unet))
    return unet.eval(), progress


def denoising_loss(
    unet: UNet2DConditionModel,
    scheduler: DDPMScheduler,
    latents: Tensor,
    encoder_hidden_states: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Mean squared error of the predicted velocity; a batch's timesteps are spread evenly over the schedule."""
    noise = torch.randn(latents.shape, generator=generator)
    spread = (torch.arange(len(latents)) + torch.rand(len(latents), generator=generator)) / len(latents)
    timesteps = (spread * scheduler.config["num_train_timesteps"]).long()
    noisy_latents = scheduler.add_noise(latents, noise, timesteps)
    model_pred = unet(noisy_latents, timesteps, encoder_hidden_states).sample.float()
    return F.mse_loss(model_pred, scheduler.get_velocity(latents, noise, timesteps))
