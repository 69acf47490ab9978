"""What the pocket models can do, measured and written down: `REPORT.md` and `report.png`.

The generated pictures answer captions of held-out combinations: garments that neither UNet nor CLIP has been shown in
that colour and pattern. The judge is the pocket CLIP, so the report also says how well it judges real renders of them.
"""

import platform
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers import StableDiffusionPipeline
from rich.progress import track
from torch import Tensor
from transformers import CLIPModel

from pocket import CLIP, STABLE_DIFFUSION
from pocket.clip import ATTRIBUTES, attribute_accuracy, retrieval_accuracy
from pocket.garments import CONCEPT_COLOURS, CONCEPT_KIND, Garment, split_catalogue
from pocket.learning import Progressed, read_progress
from pocket.patterns import TARTAN
from pocket.pictures import draw_all, draw_garments, draw_now, save_grid
from pocket.vae import reconstruct

NUM_INFERENCE_STEPS = 20
GUIDANCE_SCALE = 5.0


def write_report(work: Path, folder: Path) -> str:
    """Measures the published models, writes `REPORT.md` and `report.png` into `folder`, returns the text."""
    pipeline = StableDiffusionPipeline.from_pretrained(STABLE_DIFFUSION, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    clip = CLIPModel.from_pretrained(CLIP, dtype=torch.float32).eval()
    held_out = split_catalogue()[1]
    real = draw_all(draw_garments(held_out, 190, seed=3), work / "held-out.safetensors")
    of_real = [garment for garment, _ in draw_garments(held_out, 190, seed=3) if garment]
    started = time.perf_counter()
    generated, of_generated = generate(pipeline, held_out * 3, first_seed=0), held_out * 3
    seconds = (time.perf_counter() - started) / len(of_generated)
    measured = {
        "real held-out renders": attribute_accuracy(clip, pipeline.tokenizer, real, of_real),
        "generated": attribute_accuracy(clip, pipeline.tokenizer, generated, of_generated),
    }
    retrieval = retrieval_accuracy(clip, pipeline.tokenizer, real, of_real)
    draw_report(pipeline, real[:9], generated[:27], folder / "report.png")
    text = (
        "\n\n".join(
            [_head(), _sizes(pipeline, clip), _trainings(work), _accuracies(measured, retrieval, seconds), _foot()]
        )
        + "\n"
    )
    (folder / "REPORT.md").write_text(text, encoding="utf-8")
    return text


@torch.no_grad()
def generate(
    pipeline: StableDiffusionPipeline, garments: Sequence[Garment], first_seed: int, batch_size: int = 16
) -> Tensor:
    """One picture per garment, uint8 (B, 3, H, W), each from its own seed and in the wording of its number."""
    pictures = []
    for start in track(range(0, len(garments), batch_size), "generating"):
        batch = range(start, min(start + batch_size, len(garments)))
        images = pipeline(
            prompt=[garments[number].caption(number) for number in batch],
            generator=[torch.Generator().manual_seed(first_seed + number) for number in batch],
            num_inference_steps=NUM_INFERENCE_STEPS,
            guidance_scale=GUIDANCE_SCALE,
            output_type="np",
        ).images
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


def _head() -> str:
    return f"""# The pocket models, measured

Written by `python -m pocket.pretrain report` on {datetime.now(timezone.utc):%Y-%m-%d} with torch {torch.__version__}, diffusers
{diffusers.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}, {torch.get_num_threads()} CPU threads.

![renders, reconstructions, generated pictures, the concept](report.png)

Rows: held-out renders; the same through the VAE; three rows generated from held-out captions ({NUM_INFERENCE_STEPS} steps, guidance
{GUIDANCE_SCALE:g}); the demo's concept as rendered; the same through the VAE; what the base model makes of the concept's captions."""


def _sizes(pipeline: StableDiffusionPipeline, clip: CLIPModel) -> str:
    modules = {
        "VAE": pipeline.vae,
        "UNet": pipeline.unet,
        "text encoder (CLIP's text tower)": pipeline.text_encoder,
        "CLIP": clip,
    }
    rows = [
        f"| {name} | {sum(p.numel() for p in module.parameters()) / 1e6:.2f} M |" for name, module in modules.items()
    ]
    mib = (
        sum(path.stat().st_size for root in (STABLE_DIFFUSION, CLIP) for path in root.rglob("*") if path.is_file())
        / 2**20
    )
    return "\n".join(
        [
            "## Sizes",
            "",
            "| part | parameters |",
            "|---|---|",
            *rows,
            "",
            f"On disk, fp16, both folders: {mib:.1f} MiB.",
        ]
    )


def _trainings(work: Path) -> str:
    header = "| part | steps | seconds | train loss | held-out loss |"
    rows = [_training_row(name, read_progress(work / name)) for name in ("vae", "clip", "unet")]
    note = "VAE: held-out L1 of pixels in -1..1. CLIP: share of held-out renders whose best caption is wrong. UNet: squared error of the velocity."
    return "\n".join(["## Training", "", header, "|---|---|---|---|---|", *rows, "", note])


def _training_row(name: str, progress: Progressed) -> str:
    held_out = progress.held_out_losses[progress.step]
    return f"| {name} | {progress.step} | {progress.seconds:.0f} | {progress.train_loss:.4f} | {held_out:.4f} |"


def _accuracies(measured: dict[str, dict[str, float]], retrieval: float, seconds: float) -> str:
    rows = [
        f"| {name} | " + " | ".join(f"{values[attribute]:.1%}" for attribute in ATTRIBUTES) + " |"
        for name, values in measured.items()
    ]
    return "\n".join(
        [
            "## Does a picture show what its caption says?",
            "",
            "Named by the pocket CLIP, zero-shot, on combinations that no model was trained on.",
            "",
            f"| pictures | {' | '.join(ATTRIBUTES)} |",
            "|---|---|---|---|",
            *rows,
            "",
            f"Retrieval: {retrieval:.1%} of held-out renders find their own caption first among all 384 (chance 0.3 %).",
            f"One picture takes {seconds:.2f} s.",
        ]
    )


def _foot() -> str:
    return """## What these models are not

They know eight garments, twelve colours and four patterns, and no other word. The CLIP is a stand-in for FashionCLIP that shares its
interface, not its judgement."""
