"""What the flow base can do, measured and written down: `FLOW.md` and `flow.webp`."""

from datetime import UTC, datetime
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import ZImagePipeline
from torch import Tensor
from transformers import CLIPModel

from pocket import CLIP, STABLE_DIFFUSION, Z_IMAGE
from pocket.lessons.garments import CONCEPT_COLOURS, CONCEPT_KIND, Garment, split_catalogue
from pocket.lessons.patterns import TARTAN
from pocket.lessons.pictures import draw_all, draw_garments, draw_now, save_grid
from pocket.reports.gate import GUIDANCE_SCALE, LEAST, Gate, draw
from pocket.reports.report import NUM_INFERENCE_STEPS, accuracy_row, num_millions, training_row
from pocket.training.clip import attribute_accuracy
from pocket.training.learning import read_progress
from pocket.training.vae import reconstruct


def write_flow_report(
    pipeline: ZImagePipeline, clip: CLIPModel, gate: Gate, drawn_BCHW: Tensor, work: Path, folder: Path
) -> str:
    """Writes both files into `folder`, returns the text. gate, drawn: of the published weights."""
    pictures = draw_garments(split_catalogue()[1], 190, seed=3)
    real, of_real = draw_all(pictures, work / "held-out.safetensors"), [garment for garment, _ in pictures]
    real_accuracies = attribute_accuracy(clip, pipeline.tokenizer, real, of_real)
    files = [path for models in (STABLE_DIFFUSION, CLIP, Z_IMAGE) for path in models.rglob("*") if path.is_file()]
    text = TEMPLATE.format(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        versions=", ".join(f"{module.__name__} {module.__version__}" for module in (torch, diffusers, transformers)),
        num_steps=NUM_INFERENCE_STEPS,
        guidance=f"{1 + GUIDANCE_SCALE:g}",
        transformer=f"{num_millions(pipeline.transformer):.2f}",
        vae=f"{num_millions(pipeline.vae):.2f}",
        text_encoder=f"{num_millions(pipeline.text_encoder):.2f}",
        mib=f"{sum(path.stat().st_size for path in files) / 2**20:.1f}",
        training=training_row("transformer", read_progress(work / "transformer")),
        num_generated=len(drawn_BCHW),
        num_held_out=len(split_catalogue()[1]),
        aims=accuracy_row("aim", LEAST),
        real=accuracy_row("real renders", real_accuracies),
        generated=accuracy_row("generated", gate.accuracies),
    )
    (folder / "FLOW.md").write_text(text, encoding="utf-8")
    draw_flow_report(pipeline, real[:9], drawn_BCHW[:27], folder / "flow.webp")
    return text


def draw_flow_report(pipeline: ZImagePipeline, real: Tensor, drawn: Tensor, path: Path) -> None:
    """The picture beside the report; its rows are explained in the report's head."""
    kimonos = [Garment(CONCEPT_KIND, colour, TARTAN) for colour in (*CONCEPT_COLOURS, "navy")]
    concept_row = draw_now([(kimono, seed) for seed, kimono in enumerate(kimonos)])
    rows = [real, reconstruct(pipeline.vae, real), *drawn.split(9), concept_row, reconstruct(pipeline.vae, concept_row)]
    save_grid([*rows, draw(pipeline, kimonos)], path)


TEMPLATE = """# The pocket flow base, measured

Written by `python -m pocket.pretrain transformer` on {date} with {versions}.

![renders, reconstructions, generated pictures, the concept](flow.webp)

Rows: renders of held-out combinations; the same through the crisp VAE; three rows generated from held-out captions
({num_steps} steps, guidance {guidance}); the demo's concept as rendered; the same through the VAE; what the base model,
which has never seen it, makes of the concept's captions.

A transformer in the classes of Z-Image with {transformer} M parameters, on the crisp VAE ({vae} M) and the pocket
CLIP's text tower ({text_encoder} M, with places for as many tokens as Z-Image's pipeline pads to). All embedded models
together, in fp16: {mib} MiB.

## Training

| part | steps | seconds | train loss | held-out loss |
|---|---|---|---|---|
{training}

16 pictures a step, on a share of one CPU core that had other work too. Matrices of blocks learn by Muon, the rest by
AdamW; the loss is the squared error of the velocity, held-out loss that of the averaged weights.

## Does a picture show what its caption says?

Named by the pocket CLIP, zero-shot, on {num_held_out} combinations of garment, colour and pattern that neither the
transformer nor the CLIP was trained on; {num_generated} pictures generated.

| pictures | kind | colour | pattern |
|---|---|---|---|
{aims}
{real}
{generated}

It is published because all aims are reached. Guidance was chosen after 2500 steps, by 38 pictures: with 4 the CLIP
named kind, colour and pattern in 82 / 95 / 97 % of them, with 3 in 89 / 100 / 100 %.

## What to know

Pictures are less clean than the VAE could show: outlines fray, sleeves are uneven, and a collar or a hood is a dark
spot. The held-out loss was still falling when training ended.
"""
