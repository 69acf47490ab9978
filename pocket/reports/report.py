"""What the pocket models can do, measured and written down: `REPORT.md` and `report.webp`.

The generated pictures answer captions of held-out combinations: garments that neither UNet nor CLIP has been shown in
that colour and pattern. The pocket CLIP evaluates them, so the report also says how well it evaluates real renders.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers import StableDiffusionPipeline, ZImagePipeline
from rich.progress import track
from torch import Tensor
from transformers import CLIPModel

from pocket import CLIP, STABLE_DIFFUSION
from pocket.lessons.garments import CONCEPT_COLOURS, CONCEPT_KIND, Garment, catalogue, split_catalogue
from pocket.lessons.patterns import TARTAN
from pocket.lessons.pictures import draw_all, draw_garments, draw_now, save_grid
from pocket.training.clip import ATTRIBUTES, attribute_accuracy, retrieval_accuracy
from pocket.training.learning import Progressed, read_progress
from pocket.training.vae import reconstruct
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows

NUM_INFERENCE_STEPS = 20
GUIDANCE_SCALE = 2.0
"""Chosen on 38 pictures of a denoiser for the crisp VAE: with 3 the CLIP names the kind of 82 %, with 2 of 89 %."""
NUM_ROUNDS = 4
"""How many pictures are generated of each held-out combination."""


def write_report(run: RunDir, work: Path, folder: Path) -> str:
    """Measures the published models, writes `REPORT.md` and `report.webp` into `folder`, returns the text."""
    pipeline = StableDiffusionPipeline.from_pretrained(STABLE_DIFFUSION, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    clip = CLIPModel.from_pretrained(CLIP, dtype=torch.float32).eval()
    held_out = split_catalogue()[1]
    pictures = draw_garments(held_out, 190, seed=3)
    real, of_real = draw_all(pictures, work / "held-out.safetensors"), [garment for garment, _ in pictures]
    started, prompted = time.perf_counter(), held_out * NUM_ROUNDS
    generated = generate(pipeline, prompted, first_seed=0)
    seconds = (time.perf_counter() - started) / len(prompted)
    rows = [
        accuracy_row("real renders", attribute_accuracy(clip, pipeline.tokenizer, real, of_real)),
        accuracy_row("generated", attribute_accuracy(clip, pipeline.tokenizer, generated, prompted)),
    ]
    text = TEMPLATE.format(
        **_summary(pipeline, clip, run, work, folder),
        accuracies="\n".join(rows),
        num_held_out=len(held_out),
        num_generated=len(prompted),
        seconds=f"{seconds:.2f}",
        retrieval=f"{retrieval_accuracy(clip, pipeline.tokenizer, real, of_real):.1%}",
        num_captions=len(catalogue()),
        chance=f"{1 / len(catalogue()):.1%}",
    )
    (folder / "REPORT.md").write_text(text, encoding="utf-8")
    draw_report(pipeline, real[:9], generated[:27], folder / "report.webp")
    return text


@torch.no_grad()
def generate(
    pipeline: StableDiffusionPipeline | ZImagePipeline,
    garments: Sequence[Garment],
    first_seed: int,
    guidance_scale: float = GUIDANCE_SCALE,
    batch_size: int = 16,
    **settings: Any,
) -> Tensor:
    """One picture per garment, uint8 (B, 3, H, W), each from its own seed and in the wording of its number.

    settings: more arguments of the pipeline.
    """
    pictures = []
    for start in track(range(0, len(garments), batch_size), "generating"):
        batch = range(start, min(start + batch_size, len(garments)))
        images = pipeline(
            prompt=[garments[number].caption(number) for number in batch],
            generator=[torch.Generator().manual_seed(first_seed + number) for number in batch],
            num_inference_steps=NUM_INFERENCE_STEPS,
            guidance_scale=guidance_scale,
            output_type="np",
            **settings,
            return_dict=False,
        )[0]
        pictures.append(torch.from_numpy((np.asarray(images) * 255).round().astype(np.uint8)).permute(0, 3, 1, 2))
    return torch.cat(pictures)


def draw_report(pipeline: StableDiffusionPipeline, real: Tensor, generated: Tensor, path: Path) -> None:
    """The picture beside the report; its rows are explained in the report's head."""
    kimonos = [Garment(CONCEPT_KIND, colour, TARTAN) for colour in (*CONCEPT_COLOURS, "navy")]
    rows = [real, reconstruct(pipeline.vae, real), *generated.split(9)]
    concept_row = draw_now([(kimono, seed) for seed, kimono in enumerate(kimonos)])
    save_grid(
        [*rows, concept_row, reconstruct(pipeline.vae, concept_row), generate(pipeline, kimonos, first_seed=0)], path
    )


def _summary(
    pipeline: StableDiffusionPipeline, clip: CLIPModel, run: RunDir, work: Path, folder: Path
) -> dict[str, str]:
    """The facts of `TEMPLATE` that need no pictures."""
    modules = {"VAE": pipeline.vae, "UNet": pipeline.unet, "text encoder": pipeline.text_encoder, "CLIP": clip}
    files = [path for folder in (STABLE_DIFFUSION, CLIP) for path in folder.rglob("*") if path.is_file()]
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "versions": ", ".join(f"{module.__name__} {module.__version__}" for module in (torch, diffusers, transformers)),
        "sizes": "\n".join(f"| {name} | {num_millions(module):.2f} M |" for name, module in modules.items()),
        "mib": f"{sum(path.stat().st_size for path in files) / 2**20:.1f}",
        "trainings": "\n".join([_clip_row(work, folder), training_row("unet", of_run(run))]),
        "num_steps": str(NUM_INFERENCE_STEPS),
        "guidance": f"{GUIDANCE_SCALE:g}",
    }


def _clip_row(work: Path, folder: Path) -> str:
    """Of the CLIP's training; where that has not been here, as the report in `folder` has it."""
    if (work / "clip" / "progress.json").exists():
        return training_row("clip", read_progress(work / "clip"))
    lines = (folder / "REPORT.md").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("| clip |"))


def of_run(run: RunDir) -> Progressed:
    """The progress of a run, by its tables; losses as `training_row` writes them."""
    updates, measured = read_rows(run.train_csv), read_rows(run.validation_csv)
    seconds = sum(float(row["step_seconds"]) for row in updates)
    losses = [float(row["loss"]) for row in updates[-100:]]
    held_out = {int(row["step"]): float(row["held_out_loss"]) for row in measured}
    return Progressed(max(held_out), seconds, sum(losses) / len(losses), held_out)


def num_millions(module: torch.nn.Module) -> float:
    """Parameters."""
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def training_row(name: str, progress: Progressed) -> str:
    """A row of the table of trainings."""
    held_out = progress.held_out_losses[progress.step]
    return f"| {name} | {progress.step} | {progress.seconds:.0f} | {progress.train_loss:.4f} | {held_out:.4f} |"


def accuracy_row(name: str, accuracies: dict[str, float]) -> str:
    """A row of the table of what the CLIP names."""
    return f"| {name} | " + " | ".join(f"{accuracies[attribute]:.1%}" for attribute in ATTRIBUTES) + " |"


TEMPLATE = """# The pocket models, measured

Written by `python -m pocket.pretrain unet RUN` on {date} with {versions}.

![renders, reconstructions, generated pictures, the concept](report.webp)

Rows: renders of held-out combinations; the same through the VAE; three rows generated from held-out captions
({num_steps} steps, guidance {guidance}); the demo's concept as rendered; the same through the VAE; what the base model,
which has never seen it, makes of the concept's captions.

## Sizes

| part | parameters |
|---|---|
{sizes}

The text encoder is the CLIP's text tower. Both folders together, in fp16: {mib} MiB.

## Training

| part | steps | seconds | train loss | held-out loss |
|---|---|---|---|---|
{trainings}

Seconds of optimisation on CPU cores that had other work too. Held-out loss, of the averaged weights: for the CLIP the
share of renders whose best caption is wrong, for the UNet the squared error of the velocity. The UNet is trained by
Darkroom itself, `python run.py train pocket/unet.toml`; the VAE is [the crisp one](ROUND_TRIPS.md).

## Does a picture show what its caption says?

Named by the pocket CLIP, zero-shot, on {num_held_out} combinations of garment, colour and pattern that neither UNet nor
CLIP was trained on; {num_generated} pictures generated, {seconds} s each.

| pictures | kind | colour | pattern |
|---|---|---|---|
{accuracies}

Retrieval: {retrieval} of held-out renders find their own caption first among all {num_captions} (chance {chance}).

## What these models are not

They know eight garments, twelve colours and four patterns, and no other word. The CLIP is a stand-in for FashionCLIP:
it shares its interface, not its evaluation.
"""
