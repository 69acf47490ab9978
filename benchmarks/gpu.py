"""How fast are training and evaluation on a GPU? `benchmarks/gpu.sh [--only sd1 …] [--dry]`

The real trainer and then the real evaluator on models of the true shapes with random weights, made here: the speed does
not depend on what the weights are. Of the flow models the denoiser and the VAE are true; the text encoder has its true
width, but fewer and thinner layers, for it runs only once for each caption. Pictures are procedural.

From the run's own records: the median step, and what torch reserved for it; then the swap, and drawing and scoring five
pictures in 20 steps, of every snapshot but the first. `--dry`: miniatures on the CPU, to see that the script works; it
writes nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers import UNet2DConditionModel as UNet
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, Qwen3Config

import tasks
from benchmarks import report
from benchmarks.demo_run import ROOT, environment
from benchmarks.row import Row, middle, tell
from pocket.lessons.garments import write_concept
from shared.config.loading import load_config
from shared.launch.create import create_run
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from tests import tiny_model
from tests.tiny_flow import MINIATURES
from tests.tiny_flow.z_image import QWEN3_4B
from tests.true_shapes import UNETS, VIT_G, VIT_L
from tests.true_vae import VAE

POCKET = ROOT / "pocket" / "stable-diffusion"
NUM_STEPS, SNAPSHOT_STEPS, SETTLED = 40, 10, 5
TITLE = "How fast are training and evaluation on a GPU?"


@dataclass(frozen=True)
class Base:
    """A base model. resolution: of training; batch: of training."""

    true: Callable[[], DiffusionPipeline]
    tiny: Callable[[Path], object]
    resolution: int
    batch: int
    scheduler: str
    """`evaluation.scheduler`."""


def sd1() -> DiffusionPipeline:
    """Stable Diffusion 1.5."""
    own: Any = StableDiffusionPipeline.from_pretrained(POCKET)
    own.register_modules(unet=UNet(**UNETS["sd1"]), vae=AutoencoderKL(**VAE, sample_size=512), text_encoder=clip_l())
    return own


def sdxl() -> DiffusionPipeline:
    """Stable Diffusion XL."""
    own: Any = StableDiffusionPipeline.from_pretrained(POCKET)
    second = CLIPTextModelWithProjection(CLIPTextConfig(**VIT_G, projection_dim=1280))
    vae = AutoencoderKL(**VAE, sample_size=1024)
    unet = UNet(**UNETS["sdxl"])
    return StableDiffusionXLPipeline(vae, clip_l(), second, own.tokenizer, own.tokenizer, unet, own.scheduler)


def clip_l() -> CLIPTextModel:
    """The text encoder of both."""
    return CLIPTextModel(CLIPTextConfig(**VIT_L))


def flow(name: str, num_layers: int) -> Callable[[], DiffusionPipeline]:
    """A flow model: its miniature with the true denoiser and VAE, and a text encoder that is as wide."""

    def build() -> DiffusionPipeline:
        pipeline: Any = MINIATURES[name].build()
        parts = {key: part for key, part in true_parts(name).items() if key != "text_encoder"}
        thin: dict[str, Any] = {
            "intermediate_size": 64,
            "num_hidden_layers": num_layers,
            "vocab_size": len(pipeline.tokenizer),
        }
        settings: Any = Qwen3Config(**{**QWEN3_4B, **thin})
        encoder = type(pipeline.text_encoder)(settings)
        pipeline.register_modules(**parts, text_encoder=encoder)
        return pipeline

    return build


def true_parts(name: str) -> Mapping[str, torch.nn.Module]:
    """With random weights; what starts at zero too, so that nothing is trivially zero."""
    parts = MINIATURES[name].true_parts()
    with torch.no_grad():
        for parameter in parts["transformer"].parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.02)
    return parts


def tiny_sdxl(folder: Path) -> None:
    """SDXL in miniature."""
    tiny_model.sdxl().save_pretrained(folder)


def tiny_sd(folder: Path) -> None:
    """The embedded model."""
    StableDiffusionPipeline.from_pretrained(POCKET).save_pretrained(folder)


ATTENTION = '["to_q", "to_k", "to_v", "to_out.0"]'
DPM = "DPMSolverMultistepScheduler"
BASES = {
    "sd1": Base(sd1, tiny_sd, 512, 4, DPM),
    "sdxl": Base(sdxl, tiny_sdxl, 1024, 1, DPM),
    "flux2-klein-4b": Base(flow("flux2-klein-4b", 27), MINIATURES["flux2-klein-4b"].save, 1024, 1, "own"),
    "z-image": Base(flow("z-image", 3), MINIATURES["z-image"].save, 1024, 1, "own"),
}


def made(base: Base, folder: Path, device: str, *, dry: bool) -> Path:
    """The model's folder, in bf16; its weights are drawn on the GPU, where that takes seconds."""
    if dry:
        base.tiny(folder)
    else:
        torch.set_default_dtype(torch.bfloat16)
        torch.set_default_device(device)
        try:
            base.true().save_pretrained(folder)
        finally:
            torch.set_default_device("cpu")
            torch.set_default_dtype(torch.float32)
            torch.cuda.empty_cache()
    return folder


def run_of(base: Base, model: Path, folder: Path, *, dry: bool) -> RunDir:
    """A run folder with procedural pictures of the right size."""
    write_concept(folder / "kimono")
    side = 64 if dry else base.resolution
    for path in (folder / "kimono").rglob("*.png"):
        with Image.open(path) as picture:
            made_larger = picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
        made_larger.save(path)
    settings = {
        "run.output_dir": folder,
        "data.path": folder / "kimono",
        "data.resolution": side,
        "model.path": model,
        "lora.target_modules": ATTENTION,
        "train.max_train_steps": 4 if dry else NUM_STEPS,
        "train.snapshot_steps": 2 if dry else SNAPSHOT_STEPS,
        "train.checkpointing_steps": 4 if dry else NUM_STEPS,
        "train.train_batch_size": 2 if dry else base.batch,
        "train.lr_warmup_steps": 0,
        "train.validation_steps": "false",
        "evaluation.num_prompts": 2 if dry else 5,
        "evaluation.num_inference_steps": 2 if dry else 20,
        "evaluation.scheduler": base.scheduler,
        "evaluation.confirm_prompts": 0,
        "evaluation.strengths": "[]",
    }
    config = load_config(
        ROOT / "configs" / "pocket_kimono_cpu.toml", [f"{key}={value}" for key, value in settings.items()]
    )
    return create_run(config, tasks.find(config.run.task))


def program(name: str, run: RunDir) -> None:
    """Run it to its end."""
    command = [sys.executable, "-m", name, str(run.path)]
    done = subprocess.run(command, env=environment(run), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: exit code {done.returncode}\n{done.stderr[-2000:]}")


def measure(name: str, base: Base, device: str, *, dry: bool) -> list[Row]:
    """Train, evaluate, read the records."""
    with tempfile.TemporaryDirectory() as folder:
        model = made(base, Path(folder) / "model", device, dry=dry)
        run = run_of(base, model, Path(folder), dry=dry)
        program("trainer", run)
        program("evaluator", run)
        rows = read_rows(run.train_csv)[1 if dry else SETTLED :]
        results = [result for step in sorted(steps_in(run.evaluations)) if (result := run.read_result(step))]
    assert all(result.status == "ok" for result in results), [result.reason for result in results]
    seconds = [float(row["step_seconds"]) for row in rows]
    batch = 2 if dry else base.batch
    side = 64 if dry else base.resolution
    what = f"{name}, batch {batch}, {side}²"
    found = [
        Row(f"a training step, {what}", "–", middle([1000 * one for one in seconds], ".0f", " ms")),
        Row(f"pictures a second in training, {what}", "–", f"{batch / median(seconds):.2f}"),
    ]
    with suppress(ValueError):
        reserved = max(float(row["gpu_reserved_mib"]) for row in rows)
        found.append(Row(f"memory that training reserves, {what}", "–", f"{reserved:.0f} MiB"))
    later = [result.seconds for result in results[2:]]
    number = len(results[0].samples)
    swaps, evaluations = zip(*((1000 * one["swap"], one["generate"] + one["score"]) for one in later), strict=True)
    beside, aim = ("15 to 22 s of the first version", "≤ 2 s on an H100") if name == "sd1" else ("–", "–")
    question = f"{number} pictures of {side}² drawn and scored, {name}"
    return [
        Row(question, beside, middle(evaluations, ".2f", " s"), aim),
        Row(f"a snapshot's file into the resident pipeline, {name}", "–", middle(swaps, ".0f", " ms"), "≤ 50 ms"),
        *found,
    ]


def main() -> int:
    """Measure each, print, write the report; 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=BASES, default=list(BASES))
    parser.add_argument("--dry", action="store_true", help="miniatures on the CPU; nothing is written")
    options = parser.parse_args()
    if not (options.dry or torch.cuda.is_available()):
        print("error: there is no CUDA device\nhint: add --dry to see that the script works", file=sys.stderr)
        return 2
    begun, rows, failures, facts = time.monotonic(), list[Row](), list[str](), list[str]()
    for name in options.only:
        since = time.monotonic()
        try:
            rows += measure(name, BASES[name], "cuda", dry=options.dry)
        except (RuntimeError, AssertionError) as error:
            failures.append(name)
            rows.append(Row(name, "–", "failed"))
            print(f"{name}: {error}", file=sys.stderr)
        facts.append(f"{name}: {time.monotonic() - since:.0f} s")
    facts.append(f"{time.monotonic() - begun:.0f} s in all")
    print("\n".join(facts))
    tell(rows)
    if not options.dry:
        facts.append(torch.cuda.get_device_name())
        report.write("gpu", TITLE, __doc__ or "", rows, facts, 0.0)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
