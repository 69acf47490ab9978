"""`python redraw.py MODEL SNAPSHOT RESULT OUT [GUIDANCE]`: the first batch of a result, and those without a
reference, drawn by plain diffusers. If there is a folder OUT/unloaded, they are drawn once more, into it, by the same
pipeline after the LoRA has been unloaded.

SNAPSHOT: a LoRA, or `none`.
GUIDANCE: arguments of the pipeline as JSON, where it does not count as `evaluation.guidance_scale` does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import diffusers
import torch
from PIL import Image

from tests.tiny_flow import plain

model, snapshot, result_path, out = map(Path, sys.argv[1:5])
result = json.loads(result_path.read_text(encoding="utf-8"))
batches = {sample["batch"]: [] for sample in result["samples"]}
for sample in result["samples"]:
    batches[sample["batch"]].append(sample)
settings = result["generation"]
torch.set_num_threads(settings["threads"])

pipeline = plain(model, dtype=getattr(torch, settings["dtype"]))
pipeline.scheduler = getattr(diffusers, settings["scheduler"]).from_config(pipeline.scheduler.config)
if snapshot != Path("none"):
    pipeline.load_lora_weights(snapshot)
guidance = json.loads(sys.argv[5]) if len(sys.argv) > 5 else {"guidance_scale": settings["guidance_scale"]}


def draw(folder: Path) -> None:
    """Into the folder, under the names of the result's pictures."""
    for batch in (batch for number, batch in batches.items() if number == 0 or not batch[0]["has_reference"]):
        sources = []
        with Image.open(result_path.parent / "images" / batch[0]["image"]) as drawn:
            width, height = drawn.size
        for path in sorted((result_path.parents[2] / "references").glob(f"{batch[0]['prompt_id']}.source-*.png")):
            with Image.open(path) as source:
                sources.append(source.convert("RGB"))
        pictures = pipeline(
            prompt=[sample["prompt"] for sample in batch],
            **({"image": sources if len(sources) > 1 else sources[0]} if sources else {}),
            generator=[torch.Generator().manual_seed(sample["seed"]) for sample in batch],
            num_inference_steps=settings["num_inference_steps"],
            **guidance,
            width=width,
            height=height,
        ).images
        for sample, picture in zip(batch, pictures, strict=True):
            picture.save(folder / sample["image"])


draw(out)
if (out / "unloaded").is_dir():
    pipeline.unload_lora_weights()
    draw(out / "unloaded")
