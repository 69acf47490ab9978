"""`python -m pocket.training.unet FOLDER`: what the training of the pocket denoiser needs, beside a folder of pictures.

The house trains it from scratch, by `pocket/unet.toml`: velocity prediction (Salimans & Ho 2022) on a linear noise
schedule that ends in almost pure noise, latents of the crisp VAE, captions through the frozen pocket CLIP's text tower.

```
pictures/seen/<garment>-<number>.png, .txt      renders of seen combinations, with their captions
pictures/held-out/<garment>-<number>.png, .txt  one of each held-out combination
base/                                           the base model: all but the denoiser's weights
prompts.txt                                     the held-out captions
```
"""

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPModel, CLIPTokenizer

from pocket import CLIP, Z_IMAGE
from pocket.lessons.garments import SIZE, split_catalogue, write_pairs
from pocket.lessons.pictures import draw_garments
from pocket.training.clip import WIDTH
from shared.files.new_folder import new_folder

NUM_PICTURES = 3460
LATENT_CHANNELS = 32

CONFIG: dict[str, Any] = {
    "sample_size": SIZE // 8,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "block_out_channels": (80, 128, 128),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "cross_attention_dim": WIDTH,
    "norm_num_groups": 16,
}


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


def write(folder: Path, pictures: str = "pictures", num_pictures: int = NUM_PICTURES) -> None:
    """Fill a new folder. A combination is drawn about ten times, each time in one of the wordings."""
    seen, held_out = split_catalogue()
    garments = [garment for garment, _ in draw_garments(seen, num_pictures, seed=10_000)]
    write_pairs(folder / pictures / "seen", garments, seed=10_000)
    write_pairs(folder / pictures / "held-out", held_out, seed=3)
    captions = [garment.caption(number) for number, garment in enumerate(held_out)]
    (folder / "prompts.txt").write_text("".join(f"{caption}\n" for caption in captions), encoding="utf-8")
    write_base(folder / "base")


def write_base(folder: Path) -> None:
    """Write the base model; the denoiser's folder has a configuration only."""
    parts: dict[str, Any] = {
        "vae": AutoencoderKL.from_pretrained(Z_IMAGE / "vae", torch_dtype=torch.float32),
        "text_encoder": CLIPModel.from_pretrained(CLIP, dtype=torch.float32).text_model,
        "tokenizer": CLIPTokenizer.from_pretrained(CLIP),
        "unet": UNet2DConditionModel(**CONFIG),
        "scheduler": sampler(),
        "safety_checker": None,
        "feature_extractor": None,
    }
    parts["vae"].register_to_config(_name_or_path="")
    StableDiffusionPipeline(**parts, requires_safety_checker=False).save_pretrained(folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pocket.training.unet", description=__doc__)
    parser.add_argument("folder", type=Path, help="of the pictures; what else there is lies beside it")
    chosen: Path = parser.parse_args().folder
    if not chosen.exists():
        with new_folder(chosen.parent) as staging:
            write(staging, chosen.name)
