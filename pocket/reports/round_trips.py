"""What the pocket VAEs lose between a picture and its reconstruction: `ROUND_TRIPS.md` and `round_trips.webp`.

Held-out renders and the demo's kimonos, which no VAE has learnt from, in the published precision's weights; beside
them what the best linear basis of 8 × 8 patches loses with as many numbers.
Layout: B pictures, C colour channels, H × W pixels.
"""

from datetime import UTC, datetime
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from pocket import SMALL_VAE, Z_IMAGE
from pocket.lessons.pictures import save_grid, to_float, to_uint8
from pocket.training.crisp_vae import Lessons
from pocket.training.learning import read_progress
from pocket.training.linear_start import principal_components
from pocket.training.vae import reconstruct

BASES = (8, 16, 32)
TRAININGS = ("crisp-start", "crisp")


def write_round_trips(work: Path, folder: Path) -> str:
    """Measures the published VAEs, writes both files into `folder`, returns the text."""
    lessons = Lessons(work)
    vaes = {name: _load(path) for name, path in (("small", SMALL_VAE), ("crisp", Z_IMAGE / "vae"))}
    rows = [_basis_row(lessons, number) for number in BASES]
    for name, vae in vaes.items():
        errors = [absolute_error(reconstruct(vae, pictures), pictures) for pictures in _measured(lessons)]
        size = sum(parameter.numel() for parameter in vae.parameters()) / 1e6
        rows += [_row(f"{name} VAE, {vae.config['latent_channels']} channels, {size:.2f} M parameters", errors)]
    text = TEMPLATE.format(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        rows="\n".join(rows),
        trainings="\n".join(_training_row(work, name) for name in TRAININGS),
    )
    (folder / "ROUND_TRIPS.md").write_text(text, encoding="utf-8")
    draw_round_trips(list(vaes.values()), lessons, folder / "round_trips.webp")
    return text


def absolute_error(reconstructed_BCHW: Tensor, pictures_BCHW: Tensor) -> float:
    """Mean absolute difference of uint8 pictures, of pixels in -1..1."""
    return (to_float(reconstructed_BCHW) - to_float(pictures_BCHW)).abs().mean().item()


def draw_round_trips(vaes: list[AutoencoderKL], lessons: Lessons, path: Path) -> None:
    """Pictures, and below them their reconstructions by each VAE: six renders and six kimonos."""
    pictures = torch.cat([lessons.held_out[:6], lessons.kimonos[:6]])
    save_grid([pictures, *(reconstruct(vae, pictures) for vae in vaes)], path)


def _load(folder: Path) -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).eval()


def _measured(lessons: Lessons) -> tuple[Tensor, Tensor]:
    return lessons.held_out, lessons.kimonos


def _basis_row(lessons: Lessons, number: int) -> str:
    """Fitted to the crisp VAE's lessons."""
    patches = F.pixel_unshuffle(lessons.sample(), 8).permute(0, 2, 3, 1).flatten(0, 2)
    components, mean = principal_components(patches, number)
    back = torch.linalg.pinv(components)

    def through(pictures_BCHW: Tensor) -> Tensor:
        of_pictures = F.pixel_unshuffle(to_float(pictures_BCHW), 8).permute(0, 2, 3, 1)
        approximated = (of_pictures - mean) @ components @ back + mean
        return to_uint8(F.pixel_shuffle(approximated.permute(0, 3, 1, 2), 8))

    errors = [absolute_error(through(pictures), pictures) for pictures in _measured(lessons)]
    return _row(f"linear basis of 8 × 8 patches, {number} numbers", errors)


def _row(name: str, errors: list[float]) -> str:
    return f"| {name} | " + " | ".join(f"{error:.3f}" for error in errors) + " |"


def _training_row(work: Path, name: str) -> str:
    done = read_progress(work / name)
    return f"| {name} | {done.step} | {done.seconds:.0f} | {done.held_out_losses[done.step]:.4f} |"


TEMPLATE = """# What the pocket VAEs lose

Written by `python -m pocket.pretrain crisp` on {date}.

![pictures and their round trips through both VAEs](round_trips.webp)

Rows: renders of held-out combinations and the demo's kimonos; through the small VAE, of the pocket Stable Diffusion;
through the crisp VAE, of the flow base. No VAE has learnt from kimonos.

Mean absolute error of the round trip, of pixels in -1..1:

| | held-out renders | kimonos |
|---|---|---|
{rows}

## Training of the crisp VAE

| part | steps | seconds | held-out loss |
|---|---|---|---|
{trainings}

Seconds of optimisation on a share of one CPU core. Held-out loss is the mean absolute error in bf16, not clipped.

[What the flow base draws on it](FLOW.md).
"""
